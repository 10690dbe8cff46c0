// crdt/shortcut.hpp — the shortcuts that lose data, each takeable in a test build: negative controls of the simulator.
//
// Shipped  taken() is the constant false: a hook is no code at all. Nothing can switch one on.
// Controls tests/sim/controls_test.cpp links cores of its own, compiled with SKERRY_SHORTCUTS, takes one shortcut at a
//          time, and demands that the simulator finds it and says why. docs/SIMULATION.md lists them.
// Hook     `if (rule && !taken(Shortcut::without_the_rule))`: one line at the place that holds the rule.
#pragma once

#include <cstdint>

namespace skerry {

enum class Shortcut : std::uint8_t {
    none,
    // The leaf and its dots.
    remove_without_marker,  // the dot is taken and leaves no entry: R2
    two_dots_of_writer,     // an operation leaves its writer's earlier entry standing: R1
    // The stream.
    no_causal_check,   // a batch is applied before what it depends on
    hole_ignored,      // a batch is applied though one before it is missing
    flip_unnamed,      // what is published does not name what a flip brought
    flip_passed_over,  // the same of a served log
    relay_unchecked,   // an edge applies what its hub hands on before all that the hub had then
    part_passed_over,  // a batch of which the asker holds a part is served as if it held nothing
    relay_jumped,      // an answer without records passes over what the hub's log has in between
    // The pull.
    clock_per_chunk,    // V joins the clock of each chunk as it comes
    join_on_arrival,    // a chunk's leaves join as they come, before the flip
    chunk_at_final,     // a chunk's leaves join at the clock of the last one, not at their own
    one_pass,           // the flip does not wait until one clock has held for a whole pass
    target_ignored,     // a checkpoint is served that lacks what the caller is after
    index_below_floor,  // the index is used where it has no rows any more
    floor_not_asked,    // a server does not look whether its markers below the base may be gone
    floor_not_joined,   // a flip does not take over what the server has purged
    seen_ignored,       // a pull goes on at a server that lacks what it was shown before
    volatile_base,      // what is only applied, not durable, is not asked for
    // The full reconcile.
    full_live_only,   // only leaves that look different come: markers outside the base do not
    full_not_closed,  // the flip does not wait for a pass after the comparison
    said_ignored,     // it ends at a checkpoint that lacks what was said in the comparison
    floors_moved,     // it ends though the server has purged what came after it began
    // The repair.
    repair_by_clocks,    // leaves join at their clocks: what one side has lost, both lose
    repair_not_counted,  // digest and counts stay as they were
    // The log.
    damage_cut,  // a frame that had been durable and is damaged is cut like a torn one
    // Purge.
    unstable_purged,  // markers go that some member has not seen
    edges_unheard,    // markers go that some edge has not seen
    holder_unheard,   // the same, of a domain, by a node that holds it
    // Clears.
    clear_covers_receiver,  // a clear masks all that the receiver has, not what its writer had seen
    clear_over_counters,    // elements that count are left to the clear
    mask_forgotten_early,   // a mask goes before what it masks
    mask_over_undrained,    // the same, while leaves of a flip have not joined
    masked_joins,           // masked entries meet operations and joins
    flush_covers_receiver,  // a clear of a database masks all that the receiver has there
    flush_over_counters,    // what counts is left to the clear of its database
    flush_forgotten_early,  // the mask of a database goes before what it masks
    flush_unmeasured,       // a large flip is measured as if no clear of a database came with it
    // Replies.
    volatile_clock_shown,  // peers are told the applied clock: WAIT counts what a crash takes
    read_not_observed,     // the reply to a read does not wait for what it has seen
};

#ifdef SKERRY_SHORTCUTS
[[nodiscard]] bool taken(Shortcut shortcut) noexcept;
#else
[[nodiscard]] constexpr bool taken(Shortcut) noexcept { return false; }
#endif

}  // namespace skerry
