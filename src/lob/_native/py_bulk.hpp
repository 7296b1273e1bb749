// Arrays in and out: numpy arrays are read and written where they lie.
#pragma once

#include "py_calls.hpp"
#include "tape.hpp"

namespace touchstone::py {

/// The memory of an array, held for as long as this lives.
class ArrayView {
public:
    /// Look at a one-dimensional, contiguous array of a dtype; InvalidInput for any other object.
    ArrayView(const char* name, PyObject* array, PyObject* dtype, Py_ssize_t row_bytes,
              bool writable = false) {
        require_dtype(name, array, dtype);
        const int flags = PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(array, &view_, flags) != 0) {
            PyErr_Clear();
            fail(FaultKind::InvalidInput, std::string(name) +
                                              ": an array with gaps; allowed: a contiguous one "
                                              "(numpy.ascontiguousarray)");
        }
        const bool aligned = reinterpret_cast<std::uintptr_t>(view_.buf) % alignof(i64) == 0;
        if (view_.ndim == 1 && view_.itemsize == row_bytes && (aligned || view_.len == 0)) return;
        const int dimensions = view_.ndim;
        PyBuffer_Release(&view_);
        if (dimensions != 1) {
            fail(FaultKind::InvalidInput,
                 std::string(name) + ": " + std::to_string(dimensions) + " dimensions; allowed: 1");
        }
        fail(FaultKind::InvalidInput, std::string(name) + ": memory that is not aligned to 8 "
                                                          "bytes; allowed: a copy of it");
    }
    ~ArrayView() { PyBuffer_Release(&view_); }
    ArrayView(const ArrayView&) = delete;
    ArrayView& operator=(const ArrayView&) = delete;

    u64 size() const { return u64(view_.len) / u64(view_.itemsize); }
    void* memory() const { return view_.buf; }

private:
    static void require_dtype(const char* name, PyObject* array, PyObject* dtype) {
        nb::object found = nb::steal(PyObject_GetAttr(array, lob.dtype_name));
        if (!found.is_valid()) PyErr_Clear();
        if (found.ptr() == dtype) return;
        const int equal =
            found.is_valid() ? PyObject_RichCompareBool(found.ptr(), dtype, Py_EQ) : 0;
        if (equal < 0) throw nb::python_error();
        if (equal) return;
        const std::string shown = found.is_valid() ? nb::cast<std::string>(nb::str(found))
                                                   : std::string(Py_TYPE(array)->tp_name);
        const char* allowed = dtype == lob.message_dtype
                                  ? "; allowed: a command, or an array of MESSAGE_DTYPE"
                                  : "; allowed: an array of int64";
        fail(FaultKind::InvalidInput, std::string(name) + ": " + shown + allowed);
    }

    Py_buffer view_;
};

/// Messages and participants as Python gave them.
class MessagesView {
public:
    MessagesView(PyObject* messages, PyObject* participants)
        : messages_("messages", messages, lob.message_dtype, sizeof(Message)) {
        if (participants == nullptr || participants == Py_None) return;
        participants_.reset(
            new ArrayView("participants", participants, lob.int64_dtype, sizeof(i64)));
        if (participants_->size() == messages_.size()) return;
        fail(FaultKind::InvalidInput,
             "participants: shape (" + std::to_string(participants_->size()) + ",); allowed: (" +
                 std::to_string(messages_.size()) + ",), as the messages");
    }

    MessageArray array() const {
        return {static_cast<const Message*>(messages_.memory()),
                participants_ ? static_cast<const i64*>(participants_->memory()) : nullptr,
                messages_.size()};
    }

private:
    ArrayView messages_;
    std::unique_ptr<ArrayView> participants_;
};

/// Memory that numpy arrays lie in, given back with the last of them.
struct BlockObject {
    PyObject_HEAD
    Block block;
    Py_ssize_t bytes;  // what is shown of it
};

inline PyTypeObject* block_type = nullptr;

inline int get_block_buffer(PyObject* self, Py_buffer* view, int flags) {
    auto* shown = reinterpret_cast<BlockObject*>(self);
    return PyBuffer_FillInfo(view, self, shown->block.memory, shown->bytes, 0, flags);
}

inline void dealloc_block(PyObject* self) {
    spare_blocks().put(reinterpret_cast<BlockObject*>(self)->block);
    PyTypeObject* type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

/// Make the type; called once, when the module is imported.
inline void make_block_type() {
    static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc_block)},
                                  {Py_bf_getbuffer, reinterpret_cast<void*>(get_block_buffer)},
                                  {0, nullptr}};
    static PyType_Spec spec = {"lob._core.Block", sizeof(BlockObject), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    PyObject* type = PyType_FromSpec(&spec);
    if (type == nullptr) throw nb::python_error();
    block_type = reinterpret_cast<PyTypeObject*>(type);
}

/// Return all rows of `from` as an array over the memory that they were written to.
template <class Row>
nb::object as_lying(Rows<Row>& from, PyObject* dtype) {
    const Py_ssize_t bytes = Py_ssize_t(from.size() * sizeof(Row));
    auto* block = PyObject_New(BlockObject, block_type);
    if (block == nullptr) throw nb::python_error();
    block->block = from.give();
    block->bytes = bytes;
    nb::object owner = nb::steal(reinterpret_cast<PyObject*>(block));
    nb::object array = nb::steal(
        PyObject_CallFunctionObjArgs(lob.numpy_frombuffer, owner.ptr(), dtype, nullptr));
    if (!array.is_valid()) throw nb::python_error();
    return array;
}

/// Return all rows of `from` as a new array; they are gone from there.
template <class Row>
nb::object as_array(Rows<Row>& from, PyObject* dtype) {
    if (from.is_large()) return as_lying(from, dtype);
    nb::object size = nb::steal(PyLong_FromUnsignedLongLong(from.size()));
    nb::object array = nb::steal(
        PyObject_CallFunctionObjArgs(lob.numpy_empty, size.ptr(), dtype, nullptr));
    if (!array.is_valid()) throw nb::python_error();
    if (from.size() == 0) return array;
    ArrayView view("rows", array.ptr(), dtype, sizeof(Row), true);
    std::memcpy(view.memory(), from.data(), from.size() * sizeof(Row));
    from.clear();
    return array;
}

/// Return what the last `apply` came to, as lob.messages.Applied.
inline nb::object last_apply(PyBook& self) {
    if (self.applied.is_valid()) return self.applied;
    self.book.require_usable();
    if (!self.trades.is_valid()) self.trades = as_array(self.result.trades, lob.trade_dtype);
    nb::object refusals = as_array(self.result.refusals, lob.refusal_dtype);
    nb::object crossings = as_array(self.result.crossings, lob.crossing_dtype);
    self.applied = nb::borrow(lob.applied)(self.trades, refusals, crossings);
    return self.applied;
}

/// Carry out `run()` over so many messages without the interpreter's lock, and return its trades.
template <class Run>
nb::object applied_trades(PyBook& self, u64 messages, Run run) {
    {
        const Book::Exclusive alone(self.book);
        self.trades.reset();
        self.applied.reset();
        self.result.begin(messages);
        const nb::gil_scoped_release unlocked;
        run();
    }
    self.trades = as_array(self.result.trades, lob.trade_dtype);
    return self.trades;
}

inline nb::object apply_messages(PyBook& self, nb::handle messages, nb::handle participants,
                                 bool strict) {
    const MessagesView view(messages.ptr(), participants.ptr());
    return applied_trades(self, view.array().size, [&] {
        BulkRun(self.book, view.array(), strict, self.result).carry_out();
    });
}

/// Write what is displayed, bids then asks, best first: price, lots and orders of each level.
inline void write_depth(const Book& book, u64 levels, i64* to) {
    for (const Side side : {Side::Buy, Side::Sell}) {
        i64* next = to;
        to += 3 * levels;
        book.visit_displayed_levels(side, [&next, to](const Touch& level) {
            *next++ = level.price_ticks;
            *next++ = level.lots;
            *next++ = i64(level.orders);
            return next != to;
        });
    }
}

/// Carry messages out, feed messages that cannot be true among the refusals, and write to `found`,
/// which is zero, the depth after so many of them: `ends` grow, and none is beyond the last.
inline nb::object apply_and_look(PyBook& self, nb::handle messages, nb::handle ends, u64 levels,
                                 nb::handle found) {
    const MessagesView view(messages.ptr(), nullptr);
    const ArrayView at("ends", ends.ptr(), lob.int64_dtype, sizeof(i64));
    const ArrayView to("found", found.ptr(), lob.int64_dtype, sizeof(i64), true);
    const u64 size = view.array().size;
    const i64* const end = static_cast<const i64*>(at.memory());
    bool grow = levels > 0 && levels <= size_t(1) << 20 && to.size() == at.size() * levels * 6;
    for (u64 event = 0; event < at.size(); ++event) {
        grow = grow && end[event] >= (event ? end[event - 1] : 0) && u64(end[event]) <= size;
    }
    if (!grow) {
        fail(FaultKind::InvalidInput,
             "ends: allowed: growing, at most as many as the messages; levels: 1 or more");
    }
    return applied_trades(self, size, [&] {
        BulkRun run(self.book, view.array(), false, self.result);
        u64 row = 0;
        try {
            for (u64 event = 0; event < at.size(); ++event) {
                while (row < u64(end[event])) run.carry_out_row(row++);
                write_depth(self.book, levels,
                            static_cast<i64*>(to.memory()) + event * levels * 6);
            }
            while (row < size) run.carry_out_row(row++);
        } catch (...) {
            run.end_crossing(row - 1);  // the row at fault
            throw;
        }
        run.end_crossing(size);
    });
}

inline nb::object apply_tape(PyBook& self, CompiledTape& tape) {
    return applied_trades(self, tape.size(), [&] { tape.apply_to(self.book, self.result); });
}

}  // namespace touchstone::py
