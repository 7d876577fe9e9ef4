// The undo journal as a dead injector leaves it: whole, torn at any byte, damaged; and what carrying it out
// does.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "injector/undo/carry_out.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

int tries = 0;
int failures = 0;  // how often the next undo fails before it succeeds
std::vector<std::string> done;

Undone carry_out_test(const boost::json::object& with) {
  ++tries;
  if (with.contains("conflict"))
    return {UndoOutcome::conflict, "somebody changed it since", "echo 1 > /there"};
  if (failures-- > 0) return {UndoOutcome::failed, "the disk said no", "echo 2 > /there"};
  done.emplace_back(with.at("name").as_string());
  return {};
}
Undone throw_always(const boost::json::object&) {
  throw std::runtime_error("out of luck");
}

const UndoVerb test_verb{"test", [](const boost::json::object&) { return std::string{}; }, carry_out_test};
const UndoVerb throwing_verb{"throwing", [](const boost::json::object&) { return std::string{}; },
                             throw_always};

const UndoVerb* find_test_verb(std::string_view name) {
  return name == "test" ? &test_verb : name == "throwing" ? &throwing_verb : nullptr;
}

Inverse inverse(const std::string& name) {
  return {"test", {{"name", name}}};
}

class JournalTest : public testing::Test {
 protected:
  void SetUp() override {
    tries = failures = 0;
    done.clear();
  }
  std::string state() const { return folder.path().string(); }
  // Three changes of one step, as an injector that was killed leaves them.
  std::string left_behind() const {
    Journal journal{state(), "0badcafe"};
    for (auto* name : {"first", "second", "third"})
      journal.append({intent_record(journal.next_seq(), "step", inverse(name))});
    return journal.path();
  }
  static std::string bytes_of(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream{path}.rdbuf();
    return out.str();
  }
  static void write(const std::string& path, const std::string& bytes) {
    std::ofstream{path, std::ios::trunc} << bytes;
  }
  test::TemporaryDirectory folder;
};

TEST_F(JournalTest, is_carried_out_last_change_first_and_then_removed) {
  const auto path = left_behind();
  EXPECT_TRUE(carry_out_journal(path, find_test_verb).empty());
  EXPECT_EQ(done, (std::vector<std::string>{"third", "second", "first"}));
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(carry_out_journal(path, find_test_verb).empty());  // once more is as good as once
}

TEST_F(JournalTest, torn_at_any_byte_of_its_last_record_loses_that_record_alone) {
  const auto path = left_behind();
  const auto whole = bytes_of(path);
  const auto end = static_cast<std::size_t>(read_journal(path)->end);
  const auto last = whole.rfind('\n', end - 2) + 1;
  ASSERT_LT(last, end);
  for (auto cut = last; cut < end; ++cut) {
    // What was not written yet is zeros, since the room is prewritten; or the file ends there.
    for (auto& torn : {whole.substr(0, cut), whole.substr(0, cut) + std::string(whole.size() - cut, '\0')}) {
      write(path, torn);
      const auto read = read_journal(path);
      ASSERT_TRUE(read);
      // A record without its line feed is whole all the same where its sum says so.
      EXPECT_EQ(read->damaged, 0) << cut - last;
      EXPECT_GE(read->open.size(), 2u) << cut - last;
      if (cut + 1 < end) EXPECT_EQ(read->open.size(), 2u) << cut - last;
    }
  }
}

// Whatever bit is another one by now: it is undone or told, never neither.
TEST_F(JournalTest, with_any_bit_of_its_last_record_flipped_loses_nothing_without_a_word) {
  const auto path = left_behind();
  const auto whole = bytes_of(path);
  const auto end = static_cast<std::size_t>(read_journal(path)->end);
  const auto last = whole.rfind('\n', end - 2) + 1;
  for (auto at = last; at < end; ++at)
    for (int bit = 0; bit < 8; ++bit) {
      auto bytes = whole.substr(0, end + 4096);  // with some of the room behind it
      bytes[at] = static_cast<char>(bytes[at] ^ 1 << bit);
      const auto read = parse_journal(path, bytes);
      ASSERT_TRUE(read);
      EXPECT_TRUE(read->damaged > 0 || read->open.size() == 3) << "byte " << at - last << ", bit " << bit;
    }
  // Once for all of them: what is told is told by whoever carries it out.
  auto bytes = whole;
  bytes[last + 20] ^= 1;
  write(path, bytes);
  EXPECT_EQ(carry_out_journal(path, find_test_verb).size(), 1u);
  EXPECT_EQ(done, (std::vector<std::string>{"second", "first"}));
}

TEST_F(JournalTest, that_is_no_journal_is_told) {
  const auto path = left_behind();
  for (auto& garbage :
       {std::string{}, std::string(4096, '\0'), std::string("not a journal\n"), std::string(1 << 20, 'x')}) {
    write(path, garbage);
    EXPECT_EQ(carry_out_journal(path, find_test_verb).size(), 1u);
  }
}

TEST_F(JournalTest, held_open_is_carried_out_though_its_folder_is_gone) {
  const auto path = left_behind();
  const Fd held{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  fs::remove_all(fs::path{path}.parent_path());
  bool by_us = false;
  EXPECT_TRUE(carry_out_journal(held, path, find_test_verb, &by_us).empty());
  EXPECT_TRUE(by_us);
  EXPECT_EQ(done, (std::vector<std::string>{"third", "second", "first"}));
  // Whoever holds it as well sees that it is done.
  EXPECT_TRUE(carry_out_journal(held, path, find_test_verb, &(by_us = false)).empty());
  EXPECT_FALSE(by_us);
  EXPECT_EQ(done.size(), 3u);
}

TEST_F(JournalTest, held_open_is_at_its_place_again_where_something_is_left) {
  failures = 1000;
  const auto path = left_behind();
  const Fd held{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  fs::remove_all(fs::path{path}.parent_path());
  EXPECT_EQ(carry_out_journal(held, path, find_test_verb).size(), 3u);
  failures = 0;
  EXPECT_TRUE(carry_out_journal(path, find_test_verb).empty());
  EXPECT_EQ(done.size(), 3u);
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(JournalTest, damaged_in_the_middle_says_so_and_undoes_the_rest) {
  const auto path = left_behind();
  auto bytes = bytes_of(path);
  bytes[bytes.find("second")] ^= 1;
  write(path, bytes);
  const auto left = carry_out_journal(path, find_test_verb);
  EXPECT_EQ(done, (std::vector<std::string>{"third", "first"}));
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left[0].detail.find("the disk damaged them"), std::string::npos) << left[0].detail;
  EXPECT_NE(left[0].by_hand.find(path), std::string::npos) << left[0].by_hand;
  EXPECT_TRUE(fs::exists(path));
}

TEST_F(JournalTest, of_garbage_is_nobodys) {
  const auto path = left_behind();
  for (auto& garbage :
       {std::string{}, std::string(4096, '\0'), std::string("not a journal\n"), std::string(1 << 20, 'x')}) {
    write(path, garbage);
    EXPECT_NO_THROW(carry_out_journal(path, find_test_verb));
    EXPECT_TRUE(done.empty());
  }
}

TEST_F(JournalTest, an_undo_that_fails_is_tried_again) {
  failures = 2;
  EXPECT_FALSE(carry_out("step", inverse("stubborn"), find_test_verb));
  EXPECT_EQ(tries, 3);
}

TEST_F(JournalTest, an_undo_that_keeps_failing_is_told_with_the_command_that_finishes_it) {
  failures = 1000;
  const auto path = left_behind();
  const auto left = carry_out_journal(path, find_test_verb);
  ASSERT_EQ(left.size(), 3u);
  EXPECT_EQ(left[0].by_hand, "echo 2 > /there");
  EXPECT_TRUE(left[0].try_again);
  // The journal stays, and finishes the job later.
  failures = 0;
  EXPECT_TRUE(carry_out_journal(path, find_test_verb).empty());
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(JournalTest, half_undone_finishes_the_other_half_only) {
  const auto path = left_behind();
  append_undone(*read_journal(path), {3});
  EXPECT_TRUE(carry_out_journal(path, find_test_verb).empty());
  EXPECT_EQ(done, (std::vector<std::string>{"second", "first"}));
}

TEST_F(JournalTest, a_conflict_is_left_to_a_person_and_not_tried_again) {
  const auto left = carry_out("step", {"test", {{"name", "x"}, {"conflict", true}}}, find_test_verb);
  ASSERT_TRUE(left);
  EXPECT_EQ(tries, 1);
  EXPECT_FALSE(left->try_again);
  EXPECT_EQ(left->by_hand, "echo 1 > /there");
}

TEST_F(JournalTest, an_undo_that_throws_is_a_failure_like_any_other) {
  const auto left = carry_out("step", {"throwing", {}}, find_test_verb);
  ASSERT_TRUE(left);
  EXPECT_NE(left->detail.find("out of luck"), std::string::npos);
}

TEST_F(JournalTest, an_unknown_verb_is_another_versions) {
  const auto left = carry_out("step", {"levitate", {}}, find_test_verb);
  ASSERT_TRUE(left);
  EXPECT_NE(left->detail.find("another version"), std::string::npos) << left->detail;
}

}  // namespace
}  // namespace squall
