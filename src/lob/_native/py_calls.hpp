// The calls that must be fast from Python: vectorcall methods that read their arguments themselves.
#pragma once

#include "bulk.hpp"
#include "py_events.hpp"

namespace touchstone::py {

/// A book as Python holds it, and what its last array of messages came to.
struct PyBook {
    PyBook(bool pro_rata, i64 minimum_allocation_lots, i64 day_close_ns, u32 max_tracked_orders,
           u32 max_nodes)
        : book(Rules{pro_rata, minimum_allocation_lots, day_close_ns}, max_tracked_orders,
               max_nodes) {}

    Book book;
    BulkResult result;
    nb::object trades, applied;  // arrays of the last `apply`; not there until asked for
};

TOUCHSTONE_INLINE Book& book_of(PyObject* self) {
    Book& book = nb::inst_ptr<PyBook>(nb::handle(self))->book;
    book.require_usable();
    return book;
}

// ------------------------------------------------------------------ arguments

/// The names of a method's parameters, interned, and how many may come by position or must come.
template <int size>
struct Signature {
    const char* method;
    const char* names[size];
    int by_position, required;
    PyObject* interned[size] = {};

    void intern() {
        for (int at = 0; at < size; ++at) interned[at] = PyUnicode_InternFromString(names[at]);
    }

    /// Sort the arguments of a vectorcall; those that were not given are null.
    TOUCHSTONE_INLINE void sort(PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                                PyObject** sorted) const {
        if (TOUCHSTONE_UNLIKELY(count > by_position)) too_many(count);
        for (int at = 0; at < size; ++at) sorted[at] = at < count ? args[at] : nullptr;
        if (keywords != nullptr) sort_keywords(args + count, keywords, sorted);
        for (int at = int(count); at < required; ++at) {
            if (TOUCHSTONE_UNLIKELY(sorted[at] == nullptr)) missing(at);
        }
    }

private:
    TOUCHSTONE_INLINE void sort_keywords(PyObject* const* values, PyObject* keywords,
                                         PyObject** sorted) const {
        const Py_ssize_t count = PyTuple_GET_SIZE(keywords);
        for (Py_ssize_t given = 0; given < count; ++given) {
            PyObject* name = PyTuple_GET_ITEM(keywords, given);
            const int at = place_of(name);
            if (TOUCHSTONE_UNLIKELY(at < 0 || sorted[at] != nullptr)) unexpected(name, at);
            sorted[at] = values[given];
        }
    }
    TOUCHSTONE_INLINE int place_of(PyObject* name) const {
        for (int at = 0; at < size; ++at) {
            if (interned[at] == name) return at;
        }
        for (int at = 0; at < size; ++at) {
            if (PyUnicode_Compare(interned[at], name) == 0) return at;
        }
        return -1;
    }
    [[noreturn]] TOUCHSTONE_COLD void too_many(Py_ssize_t count) const {
        PyErr_Format(PyExc_TypeError, "%s() takes %d positional arguments but %zd were given",
                     method, by_position + 1, count + 1);
        throw nb::python_error();
    }
    [[noreturn]] TOUCHSTONE_COLD void missing(int at) const {
        PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", method, names[at]);
        throw nb::python_error();
    }
    [[noreturn]] TOUCHSTONE_COLD void unexpected(PyObject* name, int at) const {
        PyErr_Format(PyExc_TypeError,
                     at < 0 ? "%s() got an unexpected keyword argument '%U'"
                            : "%s() got multiple values for argument '%U'",
                     method, name);
        throw nb::python_error();
    }
};

inline Signature<13> submit_signature{
    "submit",
    {"order_id", "side", "quantity_lots", "price_ticks", "order_type", "time_in_force", "post_only",
     "participant_id", "stp", "stop_ticks", "display_lots", "hidden", "expire_ns"},
    4, 3};
inline Signature<1> id_signature{"cancel", {"order_id"}, 1, 1};
inline Signature<2> reduce_signature{"reduce", {"order_id", "quantity_lots"}, 2, 2};
inline Signature<3> replace_signature{
    "replace", {"order_id", "price_ticks", "quantity_lots"}, 3, 3};
inline Signature<1> advance_signature{"advance", {"now_ns"}, 1, 1};
inline Signature<5> add_signature{
    "feed_add", {"order_id", "side", "price_ticks", "quantity_lots", "participant_id"}, 5, 4};

// ------------------------------------------------------------------ commands

/// Return a command's events, or its refusal; an id that is none is told as it was given.
TOUCHSTONE_INLINE PyObject* answer(nb::object&& events, Refusal refusal, PyObject* order_id,
                                   i64 id) {
    if (TOUCHSTONE_UNLIKELY(refusal != Refusal::None)) {
        if (refusal == Refusal::InvalidOrderId) {
            PyObject* rejected =
                TupleMaker(lob.rejected, 2).borrow(order_id).word(lob.reject_reason, 0).done();
            PyObject* answer = PyTuple_Pack(1, rejected);
            Py_DECREF(rejected);
            return answer;
        }
        reinterpret_cast<EventsObject*>(events.ptr())->outlet.rejected(id, refusal);
    }
    return events.release().ptr();
}

/// Carry out `command(outlet)`, which returns a refusal, and return its events.
template <class Command>
TOUCHSTONE_INLINE PyObject* events_of(PyObject* order_id, i64 id, Command command) {
    nb::object events = nb::steal(reinterpret_cast<PyObject*>(new_events()));
    EventOutlet& out = reinterpret_cast<EventsObject*>(events.ptr())->outlet;
    const Refusal refusal = command(out);
    return answer(std::move(events), refusal, order_id, id);
}

inline NewOrder read_order(PyObject* const* given) {
    NewOrder asked;
    asked.order_id = as_field(given[0]);
    asked.type = as_word(lob.order_type, given[4], OrderType::Limit);
    asked.time_in_force = as_word(lob.time_in_force, given[5], TimeInForce::Gtc);
    asked.stp = as_word(lob.stp, given[8], Stp::None);
    asked.side = as_side(given[1]);
    asked.quantity_lots = as_field(given[2]);
    asked.price_ticks = as_optional(given[3]);
    asked.post_only = as_truth(given[6]);
    asked.participant_id = given[7] ? as_field(given[7]) : 0;
    asked.stop_ticks = as_optional(given[9]);
    asked.display_lots = given[10] ? as_field(given[10]) : 0;
    asked.hidden = as_truth(given[11]);
    asked.expire_ns = as_optional(given[12]);
    return asked;
}

/// Submit an order of which every field was given, or is null.
TOUCHSTONE_INLINE PyObject* submit_read(PyObject* self, PyObject* const* given) {
    NewOrder asked = read_order(given);
    Book& book = book_of(self);
    return events_of(given[0], asked.order_id,
                     [&](EventOutlet& out) { return book.submit(asked, out); });
}

/// Submit what is asked for most: an order of which only id, side, quantity and price are said.
TOUCHSTONE_INLINE PyObject* submit_plain(PyObject* self, PyObject* const* args) {
    const i64 id = as_field(args[0]);
    const Side side = as_side(args[1]);
    const i64 lots = as_field(args[2]), price_ticks = as_field(args[3]);
    Book& book = book_of(self);
    return events_of(args[0], id, [&](EventOutlet& out) {
        return book.submit_plain(book.seek(id), side, lots, price_ticks, out);
    });
}

inline PyObject* call_submit(PyObject* self, PyObject* const* args, Py_ssize_t count,
                             PyObject* keywords) {
    try {
        if (TOUCHSTONE_LIKELY(count == 4 && keywords == nullptr && args[3] != Py_None)) {
            return submit_plain(self, args);
        }
        PyObject* given[13];
        submit_signature.sort(args, count, keywords, given);
        return submit_read(self, given);
    } catch (...) {
        return raise_current();
    }
}

/// Submit what a lob.types.Submit asks for.
inline PyObject* call_submit_command(PyObject* self, PyObject* command) {
    try {
        if (!PyTuple_Check(command) || PyTuple_GET_SIZE(command) != 13) {
            fail(FaultKind::InvalidInput, "command: " + text_of(command) + "; allowed: a Submit");
        }
        return submit_read(self, &PyTuple_GET_ITEM(command, 0));
    } catch (...) {
        return raise_current();
    }
}

inline PyObject* call_cancel(PyObject* self, PyObject* const* args, Py_ssize_t count,
                             PyObject* keywords) {
    try {
        PyObject* given[1];
        id_signature.sort(args, count, keywords, given);
        const i64 id = as_field(given[0]);
        Book& book = book_of(self);
        return events_of(given[0], id, [&](EventOutlet& out) { return book.cancel(i64(id), out); });
    } catch (...) {
        return raise_current();
    }
}

inline PyObject* call_reduce(PyObject* self, PyObject* const* args, Py_ssize_t count,
                             PyObject* keywords) {
    try {
        PyObject* given[2];
        reduce_signature.sort(args, count, keywords, given);
        const i64 id = as_field(given[0]), lots = as_field(given[1]);
        Book& book = book_of(self);
        return events_of(given[0], id,
                         [&](EventOutlet& out) { return book.reduce(id, lots, out); });
    } catch (...) {
        return raise_current();
    }
}

inline PyObject* call_replace(PyObject* self, PyObject* const* args, Py_ssize_t count,
                              PyObject* keywords) {
    try {
        PyObject* given[3];
        replace_signature.sort(args, count, keywords, given);
        const i64 id = as_field(given[0]), price = as_field(given[1]), lots = as_field(given[2]);
        Book& book = book_of(self);
        return events_of(given[0], id,
                         [&](EventOutlet& out) { return book.replace(id, price, lots, out); });
    } catch (...) {
        return raise_current();
    }
}

inline PyObject* call_advance(PyObject* self, PyObject* const* args, Py_ssize_t count,
                              PyObject* keywords) {
    try {
        PyObject* given[1];
        advance_signature.sort(args, count, keywords, given);
        Book& book = book_of(self);
        const i64 now_ns = require_in_range("now_ns", given[0], book.now_ns());
        return events_of(given[0], 0, [&](EventOutlet& out) {
            book.advance(now_ns, out);
            return Refusal::None;
        });
    } catch (...) {
        return raise_current();
    }
}

// ------------------------------------------------------------------ what a feed says

/// Raise where a feed message cannot be true; fields that are no integers are shown as given.
TOUCHSTONE_COLD inline void refuse_feed(Refusal refusal, const Message& said, i64 participant_id,
                                        PyObject* const* given, const int (&places)[4]) {
    const Refusal fields[] = {Refusal::InvalidOrderId, Refusal::InvalidQuantity,
                              Refusal::InvalidPrice, Refusal::InvalidParticipantId};
    const char* names[] = {"order_id", "quantity_lots", "price_ticks", "participant_id"};
    for (int at = 0; at < 4; ++at) {
        if (refusal != fields[at] || places[at] < 0) continue;
        fail(FaultKind::InvalidInput, std::string(names[at]) + ": " +
                                          text_of(given[places[at]]) +
                                          "; allowed: a whole number, " + (at == 3 ? "0" : "1") +
                                          ".." + std::to_string(kMax));
    }
    throw feed_fault(refusal, said, participant_id, "");
}

TOUCHSTONE_INLINE PyObject* nothing_or_raise(Refusal refusal, const Message& said,
                                             i64 participant_id, PyObject* const* given,
                                             const int (&places)[4]) {
    if (TOUCHSTONE_UNLIKELY(refusal != Refusal::None)) {
        refuse_feed(refusal, said, participant_id, given, places);
    }
    Py_RETURN_NONE;
}

inline PyObject* call_feed_add(PyObject* self, PyObject* const* args, Py_ssize_t count,
                               PyObject* keywords) {
    try {
        PyObject* given[5];
        add_signature.sort(args, count, keywords, given);
        Message said{};
        said.order_id = as_field(given[0]);
        const Side side = as_side(given[1]);
        said.price_ticks = as_field(given[2]);
        said.quantity_lots = as_field(given[3]);
        const i64 participant_id = given[4] ? as_field(given[4]) : 0;
        Book& book = book_of(self);
        const Refusal refusal =
            book.feed_add_any<NoOutlet>(said.order_id, side, said.price_ticks,
                                    said.quantity_lots, participant_id);
        return nothing_or_raise(refusal, said, participant_id, given, {0, 3, 2, 4});
    } catch (...) {
        return raise_current();
    }
}

inline PyObject* call_feed_delete(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                  PyObject* keywords) {
    try {
        PyObject* given[1];
        id_signature.sort(args, count, keywords, given);
        Message said{};
        said.order_id = as_field(given[0]);
        Book& book = book_of(self);
        const Book::Sought id = book.seek(said.order_id);
        const Refusal refusal = book.feed_delete(id, Book::guess(id));
        return nothing_or_raise(refusal, said, 0, given, {0, -1, -1, -1});
    } catch (...) {
        return raise_current();
    }
}

/// Reduce or execute: both take lots off an order.
template <class Take>
TOUCHSTONE_INLINE PyObject* call_feed_take(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                           PyObject* keywords, Take take) {
    try {
        PyObject* given[2];
        reduce_signature.sort(args, count, keywords, given);
        Message said{};
        said.order_id = as_field(given[0]);
        said.quantity_lots = as_field(given[1]);
        const Refusal refusal = take(book_of(self), said);
        return nothing_or_raise(refusal, said, 0, given, {0, 1, -1, -1});
    } catch (...) {
        return raise_current();
    }
}

inline PyObject* call_feed_reduce(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                  PyObject* keywords) {
    return call_feed_take(self, args, count, keywords, [](Book& book, const Message& said) {
        return book.feed_reduce<NoOutlet>(said.order_id, said.quantity_lots);
    });
}

inline PyObject* call_feed_execute(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                   PyObject* keywords) {
    return call_feed_take(self, args, count, keywords, [](Book& book, const Message& said) {
        NoOutlet nobody;
        const Book::Sought id = book.seek(said.order_id);
        return book.feed_execute(id, said.quantity_lots, nobody, Book::guess(id));
    });
}

inline PyObject* call_feed_modify(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                  PyObject* keywords) {
    try {
        PyObject* given[3];
        replace_signature.sort(args, count, keywords, given);
        Message said{};
        said.order_id = as_field(given[0]);
        said.price_ticks = as_field(given[1]);
        said.quantity_lots = as_field(given[2]);
        const Refusal refusal = book_of(self).feed_modify<NoOutlet>(
            said.order_id, said.price_ticks, said.quantity_lots);
        return nothing_or_raise(refusal, said, 0, given, {0, 2, 1, -1});
    } catch (...) {
        return raise_current();
    }
}

}  // namespace touchstone::py
