// lob._core: the native order book as Python sees it. lob.native is the class that people use.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "c_api.hpp"
#include "disk.hpp"
#include "draws.hpp"
#include "levels.hpp"
#include "py_bulk.hpp"
#include "py_calls.hpp"
#include "py_questions.hpp"

namespace touchstone::py {

template <class Call>
PyCFunction as_method(Call* call) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call));
}

constexpr int kFast = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef book_methods[] = {
    {"submit", as_method(call_submit), kFast,
     "Take a new order: trade what crosses, then rest or cancel the remainder; or let it wait.\n\n"
     "It is refused whole by rule 22. A word that is no order type, time in force or self-trade\n"
     "mode is `InvalidInput`."},
    {"_submit", call_submit_command, METH_O, "Submit what a `Submit` asks for."},
    {"cancel", as_method(call_cancel), kFast,
     "Take a resting order, or a stop that waits, out of the book. O(1)."},
    {"reduce", as_method(call_reduce), kFast,
     "Take lots off an order, which keeps its place; all of them cancels it. O(1)."},
    {"replace", as_method(call_replace), kFast,
     "Give a resting order a new price and new leaves (rules 13 to 15)."},
    {"advance", as_method(call_advance), kFast,
     "Move the book's time on; return an `Expired` for each order whose time is over."},
    {"feed_add", as_method(call_feed_add), kFast,
     "Record a new resting order; it may cross, as a venue's book may before its open."},
    {"feed_delete", as_method(call_feed_delete), kFast,
     "Record that an order is gone; `NotFound` when it was not there."},
    {"feed_reduce", as_method(call_feed_reduce), kFast,
     "Record a partial cancel; the order keeps its place, and goes when nothing is left."},
    {"feed_execute", as_method(call_feed_execute), kFast,
     "Record an execution of a resting order; it counts as a trade."},
    {"feed_modify", as_method(call_feed_modify), kFast,
     "Record a new price and new leaves; the order keeps its place as in `replace`."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot book_slots[] = {{Py_tp_methods, book_methods}, {0, nullptr}};

void bind_questions(nb::class_<PyBook>& book) {
    book.def("__len__", [](const PyBook& self) { return asked(self).order_count(); })
        .def("__contains__",
             [](const PyBook& self, nb::handle order_id) {
                 const i64 id = as_field(order_id.ptr());
                 return in_range(id) && asked(self).rests(id);
             },
             nb::arg().none())
        .def_prop_ro("trade_count", [](const PyBook& self) { return asked(self).trade_sequence(); })
        .def_prop_ro("_last_trade",
                     [](const PyBook& self) { return asked(self).last_trade_ticks(); })
        .def_prop_ro("now_ns", [](const PyBook& self) { return asked(self).now_ns(); })
        .def_prop_ro("crossed", [](const PyBook& self) { return asked(self).is_crossed(); })
        .def("best_bid",
             [](const PyBook& self) { return level_or_none(asked(self).touch(Side::Buy)); })
        .def("best_ask",
             [](const PyBook& self) { return level_or_none(asked(self).touch(Side::Sell)); })
        .def("_levels",
             [](const PyBook& self, nb::handle side, u64 most) {
                 return levels_of(asked(self), as_side(side.ptr()), most);
             },
             nb::arg().none(), nb::arg())
        .def("_level",
             [](PyBook& self, nb::handle side, nb::handle price_ticks) {
                 const i64 price = as_field(price_ticks.ptr());
                 const Side of = as_side(side.ptr());
                 return level_or_none(in_range(price) ? asked(self).level_at(of, price) : Touch{});
             },
             nb::arg().none(), nb::arg().none())
        .def("_orders",
             [](const PyBook& self, nb::handle side) { return orders_of(asked(self), side); },
             nb::arg("side").none())
        .def("_stops",
             [](const PyBook& self, nb::handle side) { return stops_of(asked(self), side); },
             nb::arg("side").none())
        .def("order",
             [](const PyBook& self, nb::handle order_id) -> nb::object {
                 RestingOrder found;
                 const i64 id = as_field(order_id.ptr());
                 if (!in_range(id) || !asked(self).find_order(id, found)) return nb::none();
                 return view_of(found);
             },
             nb::arg("order_id").none(), "Return a resting order, or None. O(1).")
        .def("_first_order",
             [](PyBook& self, nb::handle side, nb::handle price_ticks) -> nb::object {
                 RestingOrder found;
                 const i64 price = as_field(price_ticks.ptr());
                 const Side of = as_side(side.ptr());
                 if (!in_range(price) || !asked(self).first_order(of, price, found)) {
                     return nb::none();
                 }
                 return view_of(found);
             },
             nb::arg().none(), nb::arg().none())
        .def("levels_before",
             [](const PyBook& self, nb::handle order_id) {
                 return asked(self).levels_before(require_resting(self.book, order_id));
             },
             nb::arg("order_id").none(),
             "Return how many displayed levels are better than an order's own; `NotFound`.")
        .def("queue_position",
             [](const PyBook& self, nb::handle order_id) {
                 return view_of(asked(self).queue_position(require_resting(self.book, order_id)));
             },
             nb::arg("order_id").none(),
             "Return what stands before an order at its price (rule 41); `NotFound`.\n\n"
             "O(1) for a tracked order, O(orders ahead) for another.")
        .def("track",
             [](PyBook& self, nb::handle order_id) {
                 return view_of(asked(self).track(require_resting(self.book, order_id)));
             },
             nb::arg("order_id").none(),
             "Follow an order's place from now on, until it ends; return where it stands.")
        .def("untrack",
             [](PyBook& self, nb::handle order_id) {
                 asked(self).untrack(as_field(order_id.ptr()));
             },
             nb::arg("order_id").none(),
             "Follow an order's place no longer; none followed is no fault.")
        .def_prop_ro("tracked_count",
                     [](const PyBook& self) { return asked(self).tracked_count(); })
        .def("_walk",
             [](const PyBook& self, nb::handle side, nb::handle quantity_lots, nb::handle limit,
                nb::handle participant_id, nb::handle stp) {
                 return walk_of(asked(self), side, quantity_lots, limit, participant_id, stp);
             },
             nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
             nb::arg().none());
}

void bind_state(nb::class_<PyBook>& book) {
    book.def("state_bytes",
             [](const PyBook& self) {
                 const std::string bytes = asked(self).state_bytes();
                 return nb::bytes(bytes.data(), bytes.size());
             },
             "Return the bytes that `state_hash` hashes (lob.state_hash). O(orders).")
        .def("_check",
             [](const PyBook& self, bool crossed_allowed) {
                 const std::string wrong = asked(self).check(crossed_allowed);
                 if (!wrong.empty()) fail(FaultKind::InvariantViolation, wrong);
             })
        .def("memory_bytes",
             [](const PyBook& self) { return asked(self).memory_bytes(); },
             "Return how much memory the book has taken for its orders and indexes.")
        .def("_restore_counts",
             [](PyBook& self, i64 trade_sequence, i64 last_trade_ticks, i64 now_ns) {
                 asked(self).restore_counts(trade_sequence, last_trade_ticks, now_ns);
             })
        .def("_restore_order",
             [](PyBook& self, nb::handle order) { restore_order(asked(self), order); },
             nb::arg().none())
        .def("_restore_stop",
             [](PyBook& self, nb::handle stop) { restore_stop(asked(self), stop); },
             nb::arg().none())
        .def("_set_arrivals",
             [](PyBook& self, u32 arrivals) { asked(self).set_arrivals(arrivals); },
             "Have arrivals counted on from here: a test of their being numbered anew.")
        .def_prop_ro("handle",
                     [](PyBook& self) { return reinterpret_cast<std::uintptr_t>(&self.book); },
                     "The address that the functions of `c_functions` take. It is good for as long "
                     "as the book lives.");
}

void bind_bulk(nb::class_<PyBook>& book) {
    book.def("feed_clear", [](PyBook& self) { asked(self).feed_clear(); },
             "Record that the venue's book is empty: every resting order goes.\n\n"
             "Waiting stops, the time and the count of trades stay.")
        .def("_apply_messages", apply_messages, nb::arg().none(), nb::arg().none(), nb::arg())
        .def("_apply_and_look", apply_and_look)
        .def("_apply_tape", apply_tape)
        .def_prop_ro("last_apply", last_apply,
                     "What the last `apply` of messages came to; empty before the first.");
}

/// Give out the addresses of the C functions by name.
nb::dict c_addresses() {
    const struct {
        const char* name;
        void* address;
    } functions[] = {
        {"submit", reinterpret_cast<void*>(touchstone_book_submit)},
        {"cancel", reinterpret_cast<void*>(touchstone_book_cancel)},
        {"reduce", reinterpret_cast<void*>(touchstone_book_reduce)},
        {"replace", reinterpret_cast<void*>(touchstone_book_replace)},
        {"advance", reinterpret_cast<void*>(touchstone_book_advance)},
        {"feed_add", reinterpret_cast<void*>(touchstone_book_feed_add)},
        {"feed_delete", reinterpret_cast<void*>(touchstone_book_feed_delete)},
        {"feed_reduce", reinterpret_cast<void*>(touchstone_book_feed_reduce)},
        {"feed_modify", reinterpret_cast<void*>(touchstone_book_feed_modify)},
        {"feed_execute", reinterpret_cast<void*>(touchstone_book_feed_execute)},
        {"best_price", reinterpret_cast<void*>(touchstone_book_best_price)},
        {"best_lots", reinterpret_cast<void*>(touchstone_book_best_lots)},
        {"lots_at", reinterpret_cast<void*>(touchstone_book_lots_at)},
        {"leaves", reinterpret_cast<void*>(touchstone_book_leaves)},
        {"lots_ahead", reinterpret_cast<void*>(touchstone_book_lots_ahead)},
        {"order_count", reinterpret_cast<void*>(touchstone_book_order_count)},
        {"trade_count", reinterpret_cast<void*>(touchstone_book_trade_count)},
    };
    nb::dict addresses;
    for (const auto& function : functions) {
        addresses[function.name] = reinterpret_cast<std::uintptr_t>(function.address);
    }
    return addresses;
}

void bind_tape(nb::module_& module) {
    nb::class_<CompiledTape>(
        module, "CompiledTape",
        "Messages resolved once, against a new book, for repeated replays into new books.\n\n"
        "Raises `InvalidInput` for an array of another dtype or shape. A row that is a fault is\n"
        "one when the tape is applied. O(messages); it keeps a copy of them.")
        .def("__init__",
             [](CompiledTape* self, nb::handle messages, nb::handle participants, bool strict) {
                 const MessagesView view(messages.ptr(), participants.ptr());
                 const nb::gil_scoped_release unlocked;
                 new (self) CompiledTape(view.array(), strict);
             },
             nb::arg("messages").none(), nb::kw_only(), nb::arg("participants").none() = nb::none(),
             nb::arg("strict") = true)
        .def("__len__", &CompiledTape::size, "Return the number of messages.");
}

}  // namespace touchstone::py

NB_MODULE(_core, module) {
    using namespace touchstone;
    using namespace touchstone::py;
    // A book that lives when the interpreter ends is no defect to tell every user of.
    nb::set_leak_warnings(false);
    fetch_lob();
    submit_signature.intern();
    id_signature.intern();
    reduce_signature.intern();
    replace_signature.intern();
    advance_signature.intern();
    add_signature.intern();
    make_events_type(module);
    make_block_type();
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const Fault& fault) {
            PyErr_SetString(fault_class(fault.kind), fault.what());
        }
    });
    nb::class_<PyBook> book(module, "Book", nb::type_slots(book_slots));
    book.def(nb::init<bool, i64, i64, u32, u32>(), nb::arg("pro_rata"),
             nb::arg("minimum_allocation_lots"), nb::arg("day_close_ns"),
             nb::arg("max_tracked_orders"), nb::arg("max_nodes"));
    bind_questions(book);
    bind_state(book);
    bind_bulk(book);
    bind_tape(module);
    bind_draws(module);
    bind_levels(module);
    bind_disk(module);
    module.attr("c_addresses") = c_addresses();
}
