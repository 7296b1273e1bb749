// Seeded draws of executions. Each has its like in plain Python, with the same results:
// execution_providers.streams, split_lots in l3_scene there, and lob.latency.
#include <nanobind/nanobind.h>

#include <cmath>
#include <cstring>

#include "draws.hpp"
#include "types.hpp"

namespace touchstone::py {

namespace nb = nanobind;

// ------------------------------------------------------------------ SplitMix64

constexpr u64 kStreamStep = 0x9E3779B97F4A7C15;

inline u64 mixed_bits(u64 number) {
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9;
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB;
    return number ^ (number >> 31);
}

/// A counter that is mixed: `PlainStream` in native code.
class Stream {
public:
    explicit Stream(u64 seed) : state_(seed) {}

    Stream below(u64 key) const { return Stream(mixed_bits(state_ + (key + 1) * kStreamStep)); }
    double random() {
        state_ += kStreamStep;
        return double(mixed_bits(state_) >> 11) * 0x1p-53;
    }
    double exponential() { return -std::log(1.0 - random()); }

    /// List the places, of so many from `first` on, whose stream soon draws a low number: at once
    /// below `at_once`, or else below `then`. The stream of a place has the key `key + step * it`.
    nb::list low_places(i64 first, i64 count, u64 key, u64 step, double at_once,
                        double then) const {
        nb::list found;
        for (i64 place = first; place < first + count; ++place) {
            Stream own = below(key + step * u64(place));
            if (own.random() < at_once || own.random() < then) found.append(place);
        }
        return found;
    }

private:
    u64 state_;
};

// ------------------------------------------------------------------ a level's orders

/// Return 1 to `most` positive whole numbers that add up to `lots`; `draw` is a `random` of Python.
inline nb::list split_lots(i64 lots, const nb::callable& draw, i64 most) {
    if (lots < 1) throw nb::value_error("lots: below 1");
    const auto next = [&draw] {
        const nb::object drawn = nb::steal(PyObject_CallNoArgs(draw.ptr()));
        if (!drawn.is_valid()) throw nb::python_error();
        return nb::cast<double>(drawn);
    };
    u64 left = u64(lots);
    const u64 count = std::min(left, 1 + u64(next() * double(most)));
    nb::list parts;
    for (u64 others = count - 1; others > 0; --others) {
        // Leave at least one lot for each of those that follow.
        const u64 spare = left - others;
        const u64 even = 2 * left / (others + 1);
        const u64 part = std::min(1 + u64(next() * double(std::min(spare, even))), spare);
        parts.append(part);
        left -= part;
    }
    parts.append(left);
    return parts;
}

// ------------------------------------------------------------------ decimals as whole numbers

/// Read plain decimal text as a count of units of 10^exponent; 0 where it is none from 1 to 2^63-1.
inline i64 count_of(const char* text, Py_ssize_t size, int exponent) {
    i64 count = 0;
    int decimals = -1;  // digits since the point; before it there is none
    for (Py_ssize_t at = 0; at < size; ++at) {
        if (text[at] == '.') {
            decimals = 0;
            continue;
        }
        const int digit = text[at] - '0';
        if (digit < 0 || digit > 9) return 0;  // a sign, an exponent, or no number
        if (decimals >= 0 && decimals >= -exponent) {
            if (digit != 0) return 0;  // finer than the unit
            continue;
        }
        if (__builtin_mul_overflow(count, i64(10), &count)) return 0;
        if (__builtin_add_overflow(count, i64(digit), &count)) return 0;
        if (decimals >= 0) ++decimals;
    }
    for (int at = decimals < 0 ? 0 : decimals; at < -exponent; ++at) {
        if (__builtin_mul_overflow(count, i64(10), &count)) return 0;
    }
    return count;
}

/// Return decimals as counts of units of 10^exponent; None where one needs a closer look.
inline nb::object counts_of(nb::tuple numbers, int exponent) {
    if (exponent > 0) return nb::none();
    nb::list counts;
    for (nb::handle number : numbers) {
        const nb::object text = nb::steal(PyObject_Str(number.ptr()));
        if (!text.is_valid()) throw nb::python_error();
        Py_ssize_t size = 0;
        const char* read = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
        if (read == nullptr) throw nb::python_error();
        const i64 count = count_of(read, size, exponent);
        if (count == 0) return nb::none();
        counts.append(count);
    }
    return counts;
}

// ------------------------------------------------------------------ numpy's seeds

/// numpy's SeedSequence of a seed of 64 bits and one spawn key (O'Neill's seed_seq_fe, pool of 4).
class SeedPool {
public:
    SeedPool(u64 seed, u32 key) {
        const u32 words[kPool + 1] = {u32(seed), u32(seed >> 32), 0, 0, key};
        for (int at = 0; at < kPool; ++at) pool_[at] = hashed(words[at]);
        for (int from = 0; from < kPool; ++from) {
            for (int to = 0; to < kPool; ++to) {
                if (from != to) pool_[to] = mix(pool_[to], hashed(pool_[from]));
            }
        }
        for (u32& word : pool_) word = mix(word, hashed(words[kPool]));
    }

    /// Return what `generate_state(4, uint64)` does, in the machine's byte order.
    nb::bytes state() const {
        u32 multiplier = 0x8b51f9dd;
        u64 found[4] = {};
        for (int at = 0; at < 8; ++at) {
            u32 word = pool_[at % kPool] ^ multiplier;
            multiplier *= 0x58f38ded;
            word *= multiplier;
            word ^= word >> 16;
            found[at / 2] |= u64(word) << (at % 2 * 32);
        }
        return nb::bytes(reinterpret_cast<const char*>(found), sizeof(found));
    }

private:
    static constexpr int kPool = 4;

    u32 hashed(u32 value) {
        value ^= multiplier_;
        multiplier_ *= 0x931e8875;
        value *= multiplier_;
        return value ^ (value >> 16);
    }
    static u32 mix(u32 into, u32 value) {
        const u32 mixed = into * 0xca01f9dd - value * 0x4973f715;
        return mixed ^ (mixed >> 16);
    }

    u32 multiplier_ = 0x43b0d7e5;
    u32 pool_[kPool];
};

void bind_draws(nb::module_& module) {
    nb::class_<Stream>(module, "Stream", "Draw numbers from a seed and keys; see `PlainStream`.")
        .def(nb::init<u64>(), nb::arg("seed"))
        .def("__init__", [](Stream* self, u64 seed,
                            u64 key) { new (self) Stream(Stream(seed).below(key)); })
        .def("below", &Stream::below, nb::arg("key"),
             "Return the stream of one more key; this one stays where it is.")
        .def("random", &Stream::random, "Return a number of 0 or more and below 1, one of 2^53.")
        .def("exponential", &Stream::exponential,
             "Return a draw of the exponential law of mean 1.")
        .def("low_places", &Stream::low_places,
             "Return the places whose own stream soon draws a low number.");
    module.def("split_lots", split_lots, nb::arg("lots"), nb::arg("draw"), nb::arg("most"));
    module.def("counts_of", counts_of, nb::arg("numbers"), nb::arg("exponent"),
               "Return decimals as counts of units of 10**exponent, or None.");
    module.def("seed_state", [](u64 seed, u32 key) { return SeedPool(seed, key).state(); },
               nb::arg("seed"), nb::arg("key"),
               "Return `SeedSequence(seed, spawn_key=(key,)).generate_state(4, uint64)` as bytes.");
}

}  // namespace touchstone::py
