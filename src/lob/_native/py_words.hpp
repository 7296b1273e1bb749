// The words of lob.types and the faults of lob.errors, fetched once, and how numbers are read.
#pragma once

#include <nanobind/nanobind.h>

#include "types.hpp"

namespace touchstone::py {

namespace nb = nanobind;

/// One enum of lob.types: its members in order, and for foreign words their texts.
struct Words {
    const char* field;  // what an error calls it
    PyObject* members[16];
    int count;

    /// Return a member's place, or -1; plain strings are taken for the words they are.
    TOUCHSTONE_INLINE int place_of(PyObject* word) const {
        for (int place = 0; place < count; ++place) {
            if (members[place] == word) return place;
        }
        return place_of_text(word);
    }
    TOUCHSTONE_COLD int place_of_text(PyObject* word) const {
        if (!PyUnicode_Check(word)) return -1;
        for (int place = 0; place < count; ++place) {
            if (PyUnicode_Compare(word, members[place]) == 0) return place;
        }
        return -1;
    }
};

/// What the module needs of lob, held for as long as the process lives.
struct Lob {
    Words side{"side", {}, 0}, order_type{"order_type", {}, 0};
    Words time_in_force{"time_in_force", {}, 0}, stp{"stp", {}, 0};
    Words reject_reason{"reason", {}, 0}, cancel_reason{"reason", {}, 0};
    PyTypeObject *accepted, *rejected, *traded, *refilled, *reduced, *replaced, *cancelled,
        *expired, *triggered;
    PyTypeObject *level, *queue_position, *level_fill, *walk, *resting_order, *submit;
    PyObject *invalid_input, *not_found, *conflict, *overloaded, *invariant_violation;
    PyObject *message_dtype, *trade_dtype, *refusal_dtype, *crossing_dtype, *int64_dtype;
    PyObject *applied, *numpy_empty, *numpy_frombuffer, *dtype_name;
};

inline Lob lob;

inline void fetch_words(const nb::module_& types, const char* name, Words& words) {
    words.count = 0;
    for (nb::handle member : types.attr(name)) {
        words.members[words.count++] = nb::object(nb::borrow(member)).release().ptr();
    }
}

inline PyTypeObject* fetch_type(const nb::module_& from, const char* name) {
    return reinterpret_cast<PyTypeObject*>(nb::object(from.attr(name)).release().ptr());
}

inline PyObject* fetch(const nb::module_& from, const char* name) {
    return nb::object(from.attr(name)).release().ptr();
}

/// Fetch all of it; called once, when the module is imported.
inline void fetch_lob() {
    const nb::module_ types = nb::module_::import_("lob.types");
    fetch_words(types, "Side", lob.side);
    fetch_words(types, "OrderType", lob.order_type);
    fetch_words(types, "TimeInForce", lob.time_in_force);
    fetch_words(types, "SelfTradePrevention", lob.stp);
    fetch_words(types, "RejectReason", lob.reject_reason);
    fetch_words(types, "CancelReason", lob.cancel_reason);
    const struct {
        const char* name;
        PyTypeObject** place;
    } kinds[] = {{"Accepted", &lob.accepted},   {"Rejected", &lob.rejected},
                 {"Traded", &lob.traded},       {"Refilled", &lob.refilled},
                 {"Reduced", &lob.reduced},     {"Replaced", &lob.replaced},
                 {"Cancelled", &lob.cancelled}, {"Expired", &lob.expired},
                 {"Triggered", &lob.triggered}, {"Level", &lob.level},
                 {"QueuePosition", &lob.queue_position},
                 {"LevelFill", &lob.level_fill}, {"Walk", &lob.walk},
                 {"RestingOrder", &lob.resting_order}, {"Submit", &lob.submit}};
    for (const auto& kind : kinds) *kind.place = fetch_type(types, kind.name);
    const nb::module_ errors = nb::module_::import_("lob.errors");
    lob.invalid_input = fetch(errors, "InvalidInput");
    lob.not_found = fetch(errors, "NotFound");
    lob.conflict = fetch(errors, "Conflict");
    lob.overloaded = fetch(errors, "Overloaded");
    lob.invariant_violation = fetch(errors, "InvariantViolation");
    const nb::module_ messages = nb::module_::import_("lob.messages");
    lob.message_dtype = fetch(messages, "MESSAGE_DTYPE");
    lob.trade_dtype = fetch(messages, "TRADE_DTYPE");
    lob.refusal_dtype = fetch(messages, "REFUSAL_DTYPE");
    lob.crossing_dtype = fetch(messages, "CROSSING_DTYPE");
    lob.applied = fetch(messages, "Applied");
    const nb::module_ numpy = nb::module_::import_("numpy");
    lob.numpy_empty = fetch(numpy, "empty");
    lob.numpy_frombuffer = fetch(numpy, "frombuffer");
    lob.int64_dtype = nb::object(numpy.attr("dtype")("int64")).release().ptr();
    lob.dtype_name = PyUnicode_InternFromString("dtype");
}

// ------------------------------------------------------------------ faults

inline PyObject* fault_class(FaultKind kind) {
    switch (kind) {
        case FaultKind::InvalidInput: return lob.invalid_input;
        case FaultKind::NotFound: return lob.not_found;
        case FaultKind::Conflict: return lob.conflict;
        case FaultKind::Overloaded: return lob.overloaded;
        default: return lob.invariant_violation;
    }
}

/// Set Python's error from the exception being handled; for functions that nanobind does not call.
TOUCHSTONE_COLD inline PyObject* raise_current() {
    try {
        throw;
    } catch (const Fault& fault) {
        PyErr_SetString(fault_class(fault.kind), fault.what());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (nb::python_error& error) {
        error.restore();
    }
    return nullptr;
}

/// The text of any object, for an error about it.
inline std::string text_of(nb::handle object) {
    nb::object text = nb::steal(PyObject_Repr(object.ptr()));
    if (!text.is_valid()) throw nb::python_error();
    return nb::cast<std::string>(text);
}

// ------------------------------------------------------------------ numbers and words

/// Read an int that CPython keeps in one digit or two, which nearly all are.
TOUCHSTONE_INLINE bool read_small(PyObject* value, i64& number) {
#if PY_VERSION_HEX >= 0x030C0000
    const auto* digits = reinterpret_cast<PyLongObject*>(value);
    if (!PyUnstable_Long_IsCompact(digits)) return false;
    number = PyUnstable_Long_CompactValue(digits);
    return true;
#else
    const auto* digits = reinterpret_cast<PyLongObject*>(value)->ob_digit;
    const Py_ssize_t size = Py_SIZE(value);
    if (size != 1 && size != 2) return false;
    number = size == 1 ? i64(digits[0]) : i64(digits[0]) | i64(digits[1]) << PyLong_SHIFT;
    return true;
#endif
}

/// Read a field; what is no int of 64 bits (a bool, a float, a larger one) is out of every range.
TOUCHSTONE_INLINE i64 as_field(PyObject* value) {
    if (TOUCHSTONE_UNLIKELY(!PyLong_CheckExact(value))) return kNotAnInteger;
    i64 number;
    if (TOUCHSTONE_LIKELY(read_small(value, number))) return number;
    int overflow = 0;
    number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return TOUCHSTONE_UNLIKELY(overflow != 0) ? kNotAnInteger : number;
}

/// Read a field that may be missing or None: 0 then, and never where something was given.
TOUCHSTONE_INLINE i64 as_optional(PyObject* value) {
    if (value == nullptr || value == Py_None) return 0;
    const i64 number = as_field(value);
    return number == 0 ? kNotAnInteger : number;
}

[[noreturn]] TOUCHSTONE_COLD inline void refuse_word(const Words& words, PyObject* word) {
    std::string allowed;
    for (int place = 0; place < words.count; ++place) {
        if (place) allowed += ", ";
        allowed += nb::cast<std::string>(nb::str(nb::handle(words.members[place])));
    }
    fail(FaultKind::InvalidInput,
         std::string(words.field) + ": " + text_of(word) + "; allowed: " + allowed);
}

/// Read a word as its place in its enum; InvalidInput for any other.
template <class Code>
TOUCHSTONE_INLINE Code as_word(const Words& words, PyObject* word, Code missing) {
    if (word == nullptr) return missing;
    const int place = words.place_of(word);
    if (TOUCHSTONE_UNLIKELY(place < 0)) refuse_word(words, word);
    return Code(place);
}

TOUCHSTONE_INLINE Side as_side(PyObject* word) { return as_word(lob.side, word, Side::Buy); }

/// Read a yes or no as Python would.
inline bool as_truth(PyObject* value) {
    if (value == nullptr || value == Py_False) return false;
    const int truth = PyObject_IsTrue(value);
    if (truth < 0) throw nb::python_error();
    return truth != 0;
}

/// Read a number from 1 to 2^63-1; InvalidInput for anything else.
inline i64 require_in_range(const char* name, PyObject* value, i64 low = 1) {
    const i64 number = as_field(value);
    if (number < low || (number == kNotAnInteger)) {
        fail(FaultKind::InvalidInput, std::string(name) + ": " + text_of(value) +
                                          "; allowed: a whole number, " + std::to_string(low) +
                                          ".." + std::to_string(kMax));
    }
    return number;
}

// ------------------------------------------------------------------ named tuples

/// Fills one named tuple of lob.types, field after field; Python owns it from `done`.
class TupleMaker {
public:
    TupleMaker(PyTypeObject* type, Py_ssize_t size) : tuple_(type->tp_alloc(type, size)) {
        if (tuple_ == nullptr) throw nb::python_error();
    }
    ~TupleMaker() { Py_XDECREF(tuple_); }
    TupleMaker(const TupleMaker&) = delete;
    TupleMaker& operator=(const TupleMaker&) = delete;

    TupleMaker& number(i64 value) { return own(PyLong_FromLongLong(value)); }
    TupleMaker& number_or_none(i64 value) { return value ? number(value) : borrow(Py_None); }
    TupleMaker& word(const Words& words, u8 place) { return borrow(words.members[place]); }
    TupleMaker& truth(bool value) { return borrow(value ? Py_True : Py_False); }
    TupleMaker& borrow(PyObject* item) {
        Py_INCREF(item);
        return own(item);
    }
    TupleMaker& own(PyObject* item) {
        if (item == nullptr) throw nb::python_error();
        PyTuple_SET_ITEM(tuple_, next_++, item);
        return *this;
    }
    PyObject* done() {
        PyObject* made = tuple_;
        tuple_ = nullptr;
        return made;
    }

private:
    PyObject* tuple_;
    Py_ssize_t next_ = 0;
};

}  // namespace touchstone::py
