#include "controller/serve/rights/people.hpp"

#include <algorithm>

#include "controller/serve/rights/secret.hpp"
#include "scenarios/text/text.hpp"

namespace squall {
namespace serve {
namespace {

bool holds(const auto& list, const auto& one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

void check_tokens(const Person& person, const Value& in, Diagnostics& wrong) {
  const auto* at = in.find("tokens");
  for (auto& token : person.tokens)
    if (token.size() != 71 || !token.starts_with("sha256:") ||
        token.find_first_not_of("0123456789abcdef", 7) != token.npos)
      wrong.error(at ? at->place : in.place,
                  "expected sha256: and 64 hex digits of a token; `squall serve --new-token` makes one");
}

}  // namespace

bool Person::is(Role role) const {
  return holds(roles, role);
}
bool Person::in(const std::string& squad) const {
  return is(Role::member) && holds(squads, squad);
}

const Person* People::with_token(std::string_view token) const {
  const auto hash = "sha256:" + sha256_hex(token);
  const Person* out = nullptr;
  for (auto& [id, person] : people)
    for (auto& known : person.tokens)
      if (same_secret(hash, known)) out = &person;
  return out;
}

People read_people(std::string_view text, Diagnostics& wrong) {
  People out;
  const auto document = parse_document(text, wrong);
  if (!wrong.ok() || !detail::expect_map(document, wrong)) return out;
  for (auto& member : document.members) {
    if (member.key != "people") detail::unknown_key(member, {"people"}, wrong);
    if (member.key != "people" || !detail::expect_map(member.value, wrong)) continue;
    for (auto& one : member.value.members) {
      Person person;
      if (!Describe<Person>::object().decode(one.value, person, wrong)) continue;
      person.id = one.key;
      out.people[one.key] = std::move(person);
    }
  }
  return out;
}

std::string may_not_start(const Person& person, const Touched& touched,
                          const std::vector<std::string>& approved) {
  const bool anyone = person.is(Role::facilitator) || person.is(Role::lead) || person.is(Role::admin);
  if (!anyone && !person.is(Role::member))
    return "starting a drill takes the role member, facilitator, lead or admin";
  if (!touched.beyond.empty() && !person.is(Role::lead) && !person.is(Role::admin))
    return fmt::format("{}: only a lead or an admin may start it", touched.beyond);
  for (auto& squad : touched.squads)
    if (!person.in(squad) && !holds(approved, squad))
      return fmt::format("it touches services of the squad {}, which has not approved it as it is now",
                         squad);
  return "";
}

bool may_halt(const Person& person, const Touched& touched, bool own) {
  return own || may_halt_all(person) ||
         std::any_of(touched.squads.begin(), touched.squads.end(),
                     [&](auto& squad) { return person.in(squad); });
}
bool may_halt_all(const Person& person) {
  return person.is(Role::facilitator) || person.is(Role::lead) || person.is(Role::admin);
}
bool may_freeze(const Person& person) {
  return person.is(Role::lead) || person.is(Role::admin);
}
bool may_approve(const Person& person, const std::string& squad) {
  return person.in(squad);
}

}  // namespace serve

const Object<serve::Person>& Describe<serve::Person>::object() {
  using serve::Person;
  static const auto object =
      Object<Person>("who somebody is to Squall")
          .required("roles", &Person::roles, "viewer, member, facilitator, lead, admin")
          .optional("squads", &Person::squads, "of which they are a member")
          .optional("tokens", &Person::tokens, "sha256:HEX of each of their tokens")
          .rule(serve::check_tokens);
  return object;
}

}  // namespace squall
