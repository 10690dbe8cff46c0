// node/note.hpp — what a component has to say to an operator: data, so that whoever says it needs no logger.
//
// Level    error = an operator must act; warn = repaired by ourselves; info = life cycle; debug = one line per message.
// Form     `event key=value` (node/log_adapter.hpp prints it); never a payload or a secret.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace skerry {

enum class NoteLevel : std::uint8_t { error, warn, info, debug };

struct Note {
    NoteLevel level = NoteLevel::info;
    std::string event;
    std::vector<std::pair<std::string, std::string>> fields;
};

}  // namespace skerry
