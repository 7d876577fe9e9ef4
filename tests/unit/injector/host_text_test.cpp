#include "injector/system/host_text.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "injector/session/link.hpp"

namespace squall {
namespace {

TEST(HostText, is_printable_whatever_bytes_a_host_puts_into_it) {
  EXPECT_EQ(printable("größe"), "größe");
  EXPECT_EQ(printable("gr\xc3"), "gr\\xc3");  // a name cut in the middle of a letter
  EXPECT_EQ(printable("\x1b[2J\n\x7f\xc2\x9b"), "\\x1b[2J\\x0a\\x7f\\xc2\\x9b");
  EXPECT_EQ(printable("\xff\xc0\x80\xed\xa0\x80"), "\\xff\\xc0\\x80\\xed\\xa0\\x80");
}

TEST(HostText, in_a_message_keeps_the_message_readable) {
  boost::json::object message{{"name", "gr\xc3\"\\\xff"}};
  const auto text = valid_json(boost::json::serialize(message));
  EXPECT_EQ(boost::json::parse(text).at("name"), "gr\\xc3\"\\\\xff");
  EXPECT_EQ(valid_json("{\"name\":\"größe\"}"), "{\"name\":\"größe\"}");
}

TEST(HostText, of_a_request_that_cannot_be_read_still_gives_its_id) {
  EXPECT_EQ(id_in(R"({"id":7,"do":"apply","with":{"body":")"), 7);
  EXPECT_EQ(id_in(R"({"do":"plan","with":{"body":"\"id\":3,"},"id":12})"), 12);
  EXPECT_EQ(id_in(R"({"do":"plan"})"), nullptr);
}

}  // namespace
}  // namespace squall
