// What a call returns: a sequence that makes the events of lob.types when somebody looks.
//
// It behaves as the tuple of them: equal, hashed, sliced, iterated, shown. Most callers look at few
// of the events they get; those that nobody looks at cost the writing of a few numbers.
#pragma once

#include "events.hpp"
#include "py_words.hpp"

namespace touchstone::py {

struct EventsObject {
    PyObject_HEAD
    PyObject* made;  // the tuple, once somebody has looked
    EventOutlet outlet;
};

inline PyTypeObject* events_type = nullptr;

/// Memory of a few that are gone, for the next ones.
struct EventsPool {
    static constexpr int kMost = 64;
    EventsObject* free[kMost];
    int count = 0;
};
inline EventsPool events_pool;

TOUCHSTONE_INLINE EventsObject* new_events() {
    EventsObject* self;
    if (TOUCHSTONE_LIKELY(events_pool.count > 0)) {
        self = events_pool.free[--events_pool.count];
        PyObject_Init(reinterpret_cast<PyObject*>(self), events_type);
    } else {
        self = PyObject_New(EventsObject, events_type);
        if (self == nullptr) throw std::bad_alloc();
    }
    self->made = nullptr;
    new (&self->outlet) EventOutlet();
    return self;
}

inline void dealloc_events(PyObject* object) {
    auto* self = reinterpret_cast<EventsObject*>(object);
    Py_CLEAR(self->made);
    self->outlet.~EventOutlet();
    if (TOUCHSTONE_LIKELY(events_pool.count < EventsPool::kMost)) {
        events_pool.free[events_pool.count++] = self;
    } else {
        PyObject_Free(object);
    }
    Py_DECREF(reinterpret_cast<PyObject*>(events_type));  // instances of heap types hold theirs
}

inline PyObject* make_event(const Event& event) {
    const i64* number = event.number;
    switch (event.kind) {
        case EventKind::Accepted:
            return TupleMaker(lob.accepted, 4).number(number[0]).word(lob.side, event.code)
                .number_or_none(number[1]).number(number[2]).done();
        case EventKind::Rejected:
            return TupleMaker(lob.rejected, 2).number(number[0])
                .word(lob.reject_reason, event.code).done();
        case EventKind::Traded:
            return TupleMaker(lob.traded, 8).number(number[0]).number(number[1]).number(number[2])
                .number(number[3]).number(number[4]).word(lob.side, event.code).number(number[5])
                .number(number[6]).done();
        case EventKind::Refilled:
            return TupleMaker(lob.refilled, 3).number(number[0]).number(number[1])
                .number(number[2]).done();
        case EventKind::Reduced:
            return TupleMaker(lob.reduced, 3).number(number[0]).number(number[1])
                .number(number[2]).done();
        case EventKind::Replaced:
            return TupleMaker(lob.replaced, 4).number(number[0]).number(number[1])
                .number(number[2]).truth(event.code).done();
        case EventKind::Cancelled:
            return TupleMaker(lob.cancelled, 3).number(number[0]).number(number[1])
                .word(lob.cancel_reason, event.code).done();
        case EventKind::Expired:
            return TupleMaker(lob.expired, 2).number(number[0]).number(number[1]).done();
        default:
            return TupleMaker(lob.triggered, 2).number(number[0]).number(number[1]).done();
    }
}

/// Return the tuple of all events, made once; a new reference is not given.
inline PyObject* events_tuple(PyObject* object) {
    auto* self = reinterpret_cast<EventsObject*>(object);
    if (self->made != nullptr) return self->made;
    try {
        const u64 size = self->outlet.size();
        nb::object made = nb::steal(PyTuple_New(Py_ssize_t(size)));
        if (!made.is_valid()) return nullptr;
        for (u64 at = 0; at < size; ++at) {
            PyTuple_SET_ITEM(made.ptr(), Py_ssize_t(at), make_event(self->outlet[at]));
        }
        self->made = made.release().ptr();
    } catch (...) {
        return raise_current();
    }
    return self->made;
}

inline bool is_events(PyObject* object) { return Py_TYPE(object) == events_type; }

/// Return the tuple of events or the object itself: what tuples are compared and joined with.
inline PyObject* as_tuple(PyObject* object) {
    return is_events(object) ? events_tuple(object) : object;
}

inline Py_ssize_t events_length(PyObject* self) {
    return Py_ssize_t(reinterpret_cast<EventsObject*>(self)->outlet.size());
}
inline PyObject* events_item(PyObject* self, Py_ssize_t at) {
    PyObject* tuple = events_tuple(self);
    return tuple ? PySequence_GetItem(tuple, at) : nullptr;
}
inline PyObject* events_subscript(PyObject* self, PyObject* key) {
    PyObject* tuple = events_tuple(self);
    return tuple ? PyObject_GetItem(tuple, key) : nullptr;
}
inline int events_contains(PyObject* self, PyObject* item) {
    PyObject* tuple = events_tuple(self);
    return tuple ? PySequence_Contains(tuple, item) : -1;
}
inline PyObject* events_iter(PyObject* self) {
    PyObject* tuple = events_tuple(self);
    return tuple ? PyObject_GetIter(tuple) : nullptr;
}
inline PyObject* events_repr(PyObject* self) {
    PyObject* tuple = events_tuple(self);
    return tuple ? PyObject_Repr(tuple) : nullptr;
}
inline Py_hash_t events_hash(PyObject* self) {
    PyObject* tuple = events_tuple(self);
    return tuple ? PyObject_Hash(tuple) : -1;
}
inline PyObject* events_compare(PyObject* self, PyObject* other, int how) {
    if (!PyTuple_Check(other) && !is_events(other)) Py_RETURN_NOTIMPLEMENTED;
    PyObject *left = events_tuple(self), *right = as_tuple(other);
    return left && right ? PyObject_RichCompare(left, right, how) : nullptr;
}
inline PyObject* events_add(PyObject* left, PyObject* right) {
    PyObject *a = as_tuple(left), *b = a ? as_tuple(right) : nullptr;
    if (a == nullptr || b == nullptr) return nullptr;
    if (!PyTuple_Check(a) || !PyTuple_Check(b)) Py_RETURN_NOTIMPLEMENTED;
    return PySequence_Concat(a, b);
}
inline PyObject* events_call(PyObject* self, const char* method, PyObject* args) {
    PyObject* tuple = events_tuple(self);
    if (tuple == nullptr) return nullptr;
    nb::object bound = nb::steal(PyObject_GetAttrString(tuple, method));
    return bound.is_valid() ? PyObject_CallObject(bound.ptr(), args) : nullptr;
}
inline PyObject* events_index(PyObject* self, PyObject* args) {
    return events_call(self, "index", args);
}
inline PyObject* events_count(PyObject* self, PyObject* args) {
    return events_call(self, "count", args);
}
inline PyObject* events_reduce(PyObject* self, PyObject*) {
    PyObject* tuple = events_tuple(self);
    return tuple ? Py_BuildValue("O(O)", &PyTuple_Type, tuple) : nullptr;
}

/// Make the type; called once, when the module is imported.
inline void make_events_type(nb::module_& module) {
    static PyMethodDef methods[] = {
        {"index", events_index, METH_VARARGS, "Return the first place of an event."},
        {"count", events_count, METH_VARARGS, "Return how often an event is there."},
        {"__reduce__", events_reduce, METH_NOARGS, "Pickle as the tuple of events."},
        {nullptr, nullptr, 0, nullptr}};
    static PyType_Slot slots[] = {
        {Py_tp_doc, const_cast<char*>("The events of one command, equal to the tuple of them.")},
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc_events)},
        {Py_tp_repr, reinterpret_cast<void*>(events_repr)},
        {Py_tp_hash, reinterpret_cast<void*>(events_hash)},
        {Py_tp_iter, reinterpret_cast<void*>(events_iter)},
        {Py_tp_richcompare, reinterpret_cast<void*>(events_compare)},
        {Py_tp_methods, methods},
        {Py_sq_length, reinterpret_cast<void*>(events_length)},
        {Py_sq_item, reinterpret_cast<void*>(events_item)},
        {Py_sq_contains, reinterpret_cast<void*>(events_contains)},
        {Py_mp_length, reinterpret_cast<void*>(events_length)},
        {Py_mp_subscript, reinterpret_cast<void*>(events_subscript)},
        {Py_nb_add, reinterpret_cast<void*>(events_add)},
        {0, nullptr}};
    static PyType_Spec spec = {"lob._core.Events", sizeof(EventsObject), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_SEQUENCE |
                                   Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                               slots};
    nb::object type = nb::steal(PyType_FromSpec(&spec));
    if (!type.is_valid()) throw nb::python_error();
    module.attr("Events") = type;
    events_type = reinterpret_cast<PyTypeObject*>(type.release().ptr());
}

}  // namespace touchstone::py
