// Depth as JSON, looked at once: is every level right, and what is the touch. Its like in plain
// Python, with the same answers, is touchstone.kit.plain_levels.
#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "levels.hpp"

namespace touchstone::py {

namespace nb = nanobind;

// The digits that a number of a request may have, before the point and after it.
constexpr std::size_t kWholeDigits = 21;
constexpr std::size_t kDecimals = 20;

/// A number above 0 as it is written, without the zeros at either end that say nothing.
struct Written {
    std::string_view text;
    std::string_view whole;
    std::string_view decimals;
};

/// Say whether the first number is below the second. Digits are compared, so it is exact.
inline bool below(const Written& one, const Written& other) {
    if (one.whole.size() != other.whole.size()) return one.whole.size() < other.whole.size();
    if (const int order = one.whole.compare(other.whole)) return order < 0;
    return one.decimals < other.decimals;
}

/// What is left of a text that is read from its beginning.
class Reader {
public:
    explicit Reader(std::string_view text) : left_(text) {}

    bool at_end() const { return left_.empty(); }

    bool take(std::string_view wanted) {
        if (left_.substr(0, wanted.size()) != wanted) return false;
        left_.remove_prefix(wanted.size());
        return true;
    }

    /// Take digits with or without a point among them; nothing where that is no number above 0.
    std::optional<Written> take_number() {
        const std::string_view begun = left_;
        std::string_view whole = take_digits();
        if (whole.empty() || whole.size() > kWholeDigits) return std::nullopt;
        std::string_view decimals;
        if (take(".")) {
            decimals = take_digits();
            if (decimals.empty() || decimals.size() > kDecimals) return std::nullopt;
        }
        const std::string_view text = begun.substr(0, begun.size() - left_.size());
        whole.remove_prefix(std::min(whole.find_first_not_of('0'), whole.size()));
        decimals = decimals.substr(0, decimals.find_last_not_of('0') + 1);
        if (whole.empty() && decimals.empty()) return std::nullopt;
        return Written{text, whole, decimals};
    }

private:
    std::string_view take_digits() {
        std::size_t count = 0;
        while (count < left_.size() && left_[count] >= '0' && left_[count] <= '9') ++count;
        const std::string_view digits = left_.substr(0, count);
        left_.remove_prefix(count);
        return digits;
    }

    std::string_view left_;
};

struct Side {
    bool empty = true;
    Written price;
    Written size;
};

/// Read `[["price","size"],...]` without blanks, best first; nothing where it is not just that.
inline std::optional<Side> read_side(std::string_view json, bool rises, std::size_t most) {
    Reader reader(json);
    Side touch;
    if (!reader.take("[")) return std::nullopt;
    if (reader.take("]")) return reader.at_end() ? std::optional(touch) : std::nullopt;
    Written before;
    for (std::size_t count = 0; count < most; ++count) {
        if (!reader.take("[\"")) return std::nullopt;
        const auto price = reader.take_number();
        if (!price || !reader.take("\",\"")) return std::nullopt;
        const auto size = reader.take_number();
        if (!size || !reader.take("\"]")) return std::nullopt;
        if (count == 0) {
            touch = {false, *price, *size};
        } else if (!(rises ? below(before, *price) : below(*price, before))) {
            return std::nullopt;
        }
        before = *price;
        if (reader.take("]")) return reader.at_end() ? std::optional(touch) : std::nullopt;
        if (!reader.take(",")) return std::nullopt;
    }
    return std::nullopt;  // too many
}

/// The bytes of an object, for as long as this lives.
class Bytes {
public:
    explicit Bytes(nb::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw nb::python_error();
    }
    ~Bytes() { PyBuffer_Release(&view_); }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;

    std::string_view text() const {
        return {static_cast<const char*>(view_.buf), static_cast<std::size_t>(view_.len)};
    }

private:
    Py_buffer view_;
};

inline nb::object text_of(bool empty, const Written& number) {
    if (empty) return nb::none();
    return nb::str(number.text.data(), number.text.size());
}

/// Return price and size of the best bid, then of the best ask; None for what needs a closer look.
inline nb::object touches(nb::handle bids, nb::handle asks, std::size_t most) {
    const Bytes below_mid(bids), above_mid(asks);
    const auto bid = read_side(below_mid.text(), false, most);
    if (!bid) return nb::none();
    const auto ask = read_side(above_mid.text(), true, most);
    if (!ask) return nb::none();
    if (!bid->empty && !ask->empty && !below(bid->price, ask->price)) return nb::none();
    return nb::make_tuple(text_of(bid->empty, bid->price), text_of(bid->empty, bid->size),
                          text_of(ask->empty, ask->price), text_of(ask->empty, ask->size));
}

void bind_levels(nb::module_& module) {
    module.def("touches", touches, nb::arg("bids"), nb::arg("asks"), nb::arg("levels_max"),
               "Return price and size of the best bid and of the best ask, or None.");
}

}  // namespace touchstone::py
