// Every fault there is, on one screen.
#include "injector/faults/fault.hpp"

namespace squall {
namespace faults {
extern const FaultType network_delay, network_loss, network_duplicate, network_corrupt, network_reorder,
    network_rate, network_impair;
extern const FaultType network_partition, network_reset, network_refuse, network_occupy,
    network_exhaust_ports, network_down, network_mtu;
extern const FaultType tcp_latency, tcp_bandwidth, tcp_slow_close, tcp_timeout, tcp_reset_peer, tcp_slicer,
    tcp_limit_data, tcp_down;
extern const FaultType http_abort, http_delay, http_headers, http_body, http_truncate;
extern const FaultType dns_fail, dns_delay, dns_answer;
extern const FaultType process_kill, process_pause, process_keep_dead, process_limit;
extern const FaultType cpu_burn, cpu_throttle, memory_fill, memory_limit;
extern const FaultType disk_throttle, disk_freeze, disk_fill, disk_inodes;
extern const FaultType disk_latency, disk_error, files_latency, files_error;
}  // namespace faults

const std::vector<const FaultType*>& fault_catalogue() {
  static const std::vector<const FaultType*> catalogue{
      &faults::network_delay,     &faults::network_loss,
      &faults::network_duplicate, &faults::network_corrupt,
      &faults::network_reorder,   &faults::network_rate,
      &faults::network_impair,    &faults::network_partition,
      &faults::network_reset,     &faults::network_down,
      &faults::network_mtu,       &faults::network_refuse,
      &faults::network_occupy,    &faults::network_exhaust_ports,
      &faults::tcp_latency,       &faults::tcp_bandwidth,
      &faults::tcp_slow_close,    &faults::tcp_timeout,
      &faults::tcp_reset_peer,    &faults::tcp_slicer,
      &faults::tcp_limit_data,    &faults::tcp_down,
      &faults::http_abort,        &faults::http_delay,
      &faults::http_headers,      &faults::http_body,
      &faults::http_truncate,     &faults::dns_fail,
      &faults::dns_delay,         &faults::dns_answer,
      &faults::process_kill,      &faults::process_pause,
      &faults::process_keep_dead, &faults::process_limit,
      &faults::cpu_burn,          &faults::cpu_throttle,
      &faults::memory_fill,       &faults::memory_limit,
      &faults::disk_throttle,     &faults::disk_freeze,
      &faults::disk_fill,         &faults::disk_inodes,
      &faults::disk_latency,      &faults::disk_error,
      &faults::files_latency,     &faults::files_error,
  };
  return catalogue;
}

const FaultType* find_fault(std::string_view name) {
  for (auto* fault : fault_catalogue())
    if (fault->name == name) return fault;
  return nullptr;
}

boost::json::object Share::json() const {
  if (!unknown.empty()) return {{"of", of}, {"unknown", unknown}};
  boost::json::object out{{"of", of}, {"met", met}, {"passed", passed}};
  if (!by.empty()) out["by"] = boost::json::array(by.begin(), by.end());
  return out;
}

boost::json::object Witness::json() const {
  boost::json::object out{{"service", service}, {"met", met}, {"passed", passed}};
  if (unseen) out["unseen"] = unseen;
  return out;
}

boost::json::object Dose::json() const {
  boost::json::object out{
      {"prescribed", prescribed}, {"measured", measured}, {"samples", samples}, {"verified", verified}};
  if (!reason.empty()) out["reason"] = reason;
  if (witness) out["witness"] = witness->json();
  if (!shares.empty()) {
    boost::json::array list;
    for (auto& share : shares)
      list.push_back(share.json());
    out["shares"] = std::move(list);
  }
  return out;
}

}  // namespace squall
