// people.yaml: who may do what.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "scenarios/schema/schema.hpp"

namespace squall::serve {

// viewer: reads · member: drills its squads' services, approves for them · facilitator: drills that every
// squad concerned has approved · lead: halts everything, freezes · admin: all of it.
enum class Role { viewer, member, facilitator, lead, admin };

struct Person {
  std::vector<Role> roles;
  std::vector<std::string> squads;
  std::vector<std::string> tokens;  // sha256:HEX of each
  std::string id;                   // its key in the file
  bool is(Role) const;
  bool in(const std::string& squad) const;
};

struct People {
  std::map<std::string, Person> people;
  // Whose token it is; nullptr where nobody's. Looks at all of them, whoever it is.
  const Person* with_token(std::string_view token) const;
};
// One who is written wrongly is left out, the others stay.
People read_people(std::string_view text, Diagnostics&);

// What a drill is aimed at, by the landscape alone: what a scenario says of owners is not asked.
struct Touched {
  std::vector<std::string> services, squads;  // sorted
  std::string beyond;  // why some of it is nobody's: then only a lead or an admin may start it; or ""
};

// Why this person may not start such a drill; "" where they may. `approved`: squads that have approved it.
std::string may_not_start(const Person&, const Touched&, const std::vector<std::string>& approved);
bool may_halt(const Person&, const Touched&, bool own);
bool may_halt_all(const Person&);
bool may_freeze(const Person&);
bool may_approve(const Person&, const std::string& squad);

}  // namespace squall::serve

namespace squall {
template <>
struct EnumNames<serve::Role> {
  static constexpr std::array<std::pair<std::string_view, serve::Role>, 5> names{
      {{"viewer", serve::Role::viewer},
       {"member", serve::Role::member},
       {"facilitator", serve::Role::facilitator},
       {"lead", serve::Role::lead},
       {"admin", serve::Role::admin}}};
};
template <>
struct Describe<serve::Person> {
  static const Object<serve::Person>& object();
};
}  // namespace squall
