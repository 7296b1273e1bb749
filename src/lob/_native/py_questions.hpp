// Questions from Python, and taking a book's state out and in.
#pragma once

#include "py_calls.hpp"

namespace touchstone::py {

inline nb::object made(PyObject* object) { return nb::steal(object); }

inline nb::object level_or_none(const Touch& level) {
    if (level.price_ticks == 0) return nb::none();
    return made(TupleMaker(lob.level, 3).number(level.price_ticks).number(level.lots)
                    .number(level.orders).done());
}

inline nb::object view_of(const RestingOrder& order) {
    return made(TupleMaker(lob.resting_order, 11)
                    .number(order.order_id)
                    .word(lob.side, u8(order.side))
                    .number(order.price_ticks)
                    .number(order.leaves)
                    .number(order.displayed_lots)
                    .number(order.participant_id)
                    .truth(order.post_only)
                    .word(lob.stp, u8(order.stp))
                    .number(order.display_lots)
                    .truth(order.hidden)
                    .number_or_none(order.expire_ns)
                    .done());
}

inline nb::object view_of(const NewOrder& stop) {
    return made(TupleMaker(lob.submit, 13)
                    .number(stop.order_id)
                    .word(lob.side, u8(stop.side))
                    .number(stop.quantity_lots)
                    .number_or_none(stop.price_ticks)
                    .word(lob.order_type, u8(stop.type))
                    .word(lob.time_in_force, u8(stop.time_in_force))
                    .truth(stop.post_only)
                    .number(stop.participant_id)
                    .word(lob.stp, u8(stop.stp))
                    .number_or_none(stop.stop_ticks)
                    .number(stop.display_lots)
                    .truth(stop.hidden)
                    .number_or_none(stop.expire_ns)
                    .done());
}

inline nb::object view_of(const QueuePosition& position) {
    return made(TupleMaker(lob.queue_position, 2)
                    .number(position.orders_ahead)
                    .number(position.lots_ahead)
                    .done());
}

/// Return an integer of 128 bits.
inline nb::object wide_integer(i128 value) {
    const nb::object high = nb::cast(i64(value >> 64)), low = nb::cast(u64(value));
    return (high << nb::cast(64)) | low;
}

/// Return the id of an order that rests; NotFound, or InvalidInput where it is no id.
inline i64 require_resting(const Book& book, nb::handle order_id) {
    const i64 id = as_field(order_id.ptr());
    if (in_range(id) && book.rests(id)) return id;
    require_in_range("order_id", order_id.ptr());
    fail(FaultKind::NotFound, "order_id: " + std::to_string(id) + " does not rest in the book");
}

inline const Book& asked(const PyBook& self) {
    self.book.require_usable();
    return self.book;
}
inline Book& asked(PyBook& self) {
    self.book.require_usable();
    return self.book;
}

/// Return up to `most` levels of one side, best first.
inline nb::object levels_of(const Book& book, Side side, u64 most) {
    nb::list levels;
    if (most) {
        book.visit_displayed_levels(side, [&](const Touch& level) {
            levels.append(level_or_none(level));
            return --most > 0;
        });
    }
    return nb::tuple(levels);
}

/// Return the resting orders of one side, or of both.
inline nb::list orders_of(const Book& book, nb::handle side) {
    nb::list orders;
    const auto add = [&](const RestingOrder& order) { orders.append(view_of(order)); };
    if (side.is_none()) {
        book.visit_orders(Side::Buy, add);
        book.visit_orders(Side::Sell, add);
    } else {
        book.visit_orders(as_side(side.ptr()), add);
    }
    return orders;
}

inline nb::list stops_of(const Book& book, nb::handle side) {
    nb::list stops;
    const bool both = side.is_none();
    const Side wanted = both ? Side::Buy : as_side(side.ptr());
    book.visit_stops([&](const NewOrder& stop) {
        if (both || stop.side == wanted) stops.append(view_of(stop));
    });
    return stops;
}

/// Return what an IOC order would trade, as lob.types.Walk.
inline nb::object walk_of(const Book& book, nb::handle side, nb::handle quantity_lots,
                          nb::handle limit_ticks, nb::handle participant_id, nb::handle stp) {
    NewOrder order;
    order.quantity_lots = require_in_range("quantity_lots", quantity_lots.ptr());
    order.stp = as_word(lob.stp, stp.ptr(), Stp::None);
    order.side = as_side(side.ptr());
    if (!limit_ticks.is_none()) {
        order.price_ticks = require_in_range("limit_ticks", limit_ticks.ptr());
    }
    order.participant_id = as_field(participant_id.ptr());
    nb::list fills;
    const Walk found = book.walk(order, [&](i64 price_ticks, i64 lots) {
        fills.append(made(TupleMaker(lob.level_fill, 2).number(price_ticks).number(lots).done()));
    });
    return made(TupleMaker(lob.walk, 4)
                    .number(found.lots)
                    .borrow(wide_integer(found.cost_tick_lots).ptr())
                    .number_or_none(found.worst_price_ticks)
                    .borrow(nb::tuple(fills).ptr())
                    .done());
}

// ------------------------------------------------------------------ restore

inline i64 field_of(nb::handle tuple, Py_ssize_t at) {
    return as_field(PyTuple_GET_ITEM(tuple.ptr(), at));
}
inline PyObject* item_of(nb::handle tuple, Py_ssize_t at) {
    return PyTuple_GET_ITEM(tuple.ptr(), at);
}

[[noreturn]] inline void refuse_snapshot(nb::handle order, Refusal refusal) {
    fail(FaultKind::InvalidInput,
         "snapshot: " + text_of(order) + ": " +
             nb::cast<std::string>(nb::str(nb::handle(lob.reject_reason.members[u8(refusal)]))));
}

/// Put a resting order back, a lob.types.RestingOrder.
inline void restore_order(Book& book, nb::handle order) {
    if (!PyTuple_Check(order.ptr()) || PyTuple_GET_SIZE(order.ptr()) != 11) {
        fail(FaultKind::InvalidInput, "snapshot: " + text_of(order) + "; allowed: a RestingOrder");
    }
    RestingOrder given{};
    given.order_id = field_of(order, 0);
    given.side = as_side(item_of(order, 1));
    given.price_ticks = field_of(order, 2);
    given.leaves = field_of(order, 3);
    given.displayed_lots = field_of(order, 4);
    given.participant_id = field_of(order, 5);
    given.post_only = as_truth(item_of(order, 6));
    given.stp = as_word(lob.stp, item_of(order, 7), Stp::None);
    given.display_lots = field_of(order, 8);
    given.hidden = as_truth(item_of(order, 9));
    given.expire_ns = as_optional(item_of(order, 10));
    const Refusal refusal = book.restore_order(given);
    if (refusal != Refusal::None) refuse_snapshot(order, refusal);
}

/// Have a stop wait again, a lob.types.Submit.
inline void restore_stop(Book& book, nb::handle stop) {
    if (!PyTuple_Check(stop.ptr()) || PyTuple_GET_SIZE(stop.ptr()) != 13) {
        fail(FaultKind::InvalidInput, "snapshot: " + text_of(stop) + "; allowed: a Submit");
    }
    const Refusal refusal = book.restore_stop(read_order(&PyTuple_GET_ITEM(stop.ptr(), 0)));
    if (refusal != Refusal::None) refuse_snapshot(stop, refusal);
}

}  // namespace touchstone::py
