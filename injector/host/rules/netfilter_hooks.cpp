#include "injector/host/rules/netfilter_hooks.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <sched.h>

#include <linux/netfilter.h>

#include <fmt/format.h>

#include "injector/host/rules/nftables.hpp"

namespace squall {

using nft::Family;

std::int32_t behind_ours(std::int32_t first) {
  constexpr unsigned places = 80;
  static std::atomic<unsigned> made = 0;
  return first + static_cast<std::int32_t>(made++ % places);
}

namespace {
std::vector<netlink::Socket> register_hooks_of_nobody() {
  std::vector<netlink::Socket> owners;
  std::thread{[&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    for (auto family : {Family::inet, Family::netdev})
      try {
        netlink::Socket owner{NETLINK_NETFILTER};
        netlink::Messages messages;
        nft::begin_batch(messages);
        nft::add_table(messages, family, "squall");
        if (family == Family::netdev)
          nft::add_base_chain(messages, {family, "squall", "egress"}, {NF_NETDEV_EGRESS, 0, "lo"});
        else
          for (auto hook : {NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT})
            nft::add_base_chain(messages, {family, "squall", fmt::format("hook{}", static_cast<int>(hook))},
                                {hook, 0, ""});
        nft::end_batch(messages);
        if (owner.exchange(messages)) owners.push_back(std::move(owner));
      } catch (const std::exception&) {
      }
  }}.join();
  return owners;
}
}  // namespace

void keep_hooks_switched_on() {
  // Never destroyed: the end of the process closes them quicker than we could.
  static const auto* const owners = new std::vector<netlink::Socket>{register_hooks_of_nobody()};
  (void)owners;
}

}  // namespace squall
