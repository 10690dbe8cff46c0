// store/short_bytes.hpp — the bytes of a key or a sub-key: never changed, up to 28 of them held in place.
//
// Why      most keys and members are of 16 to 28 bytes: too long for std::string to hold in place, so that each lookup
//          pays a cache miss, and each key an allocation, for comparing them. As large as a std::string (32 bytes).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "crdt/assert.hpp"

namespace skerry {

class ShortBytes {
  public:
    static constexpr std::size_t kInPlace = 28;

    ShortBytes() = default;
    explicit ShortBytes(std::string_view bytes) : count_(static_cast<std::uint32_t>(bytes.size())) {
        ASSERT(bytes.size() <= UINT32_MAX);
        char* place = held_.data();
        if (bytes.size() > kInPlace) {
            place = new char[bytes.size()];
            std::memcpy(held_.data(), &place, sizeof place);
        }
        if (!bytes.empty()) std::memcpy(place, bytes.data(), bytes.size());
    }
    ShortBytes(ShortBytes&& other) noexcept
        : count_(std::exchange(other.count_, 0)), held_(other.held_) {}
    ShortBytes& operator=(ShortBytes&& other) noexcept {
        std::swap(count_, other.count_);
        std::swap(held_, other.held_);
        return *this;
    }
    ~ShortBytes() {
        if (count_ > kInPlace) delete[] apart();
    }

    // Lifetime: until this is moved or destroyed.
    [[nodiscard]] std::string_view view() const {
        return {count_ > kInPlace ? apart() : held_.data(), count_};
    }
    // NOLINTNEXTLINE(google-explicit-constructor): it reads like the bytes it holds
    operator std::string_view() const { return view(); }
    // Allocated beside the object itself.
    [[nodiscard]] std::size_t bytes_apart() const { return count_ > kInPlace ? count_ + 16 : 0; }

    friend bool operator==(const ShortBytes& a, std::string_view b) { return a.view() == b; }

  private:
    [[nodiscard]] char* apart() const {
        char* pointer = nullptr;
        std::memcpy(&pointer, held_.data(), sizeof pointer);
        return pointer;
    }

    std::uint32_t count_ = 0;
    std::array<char, kInPlace> held_{};  // the bytes, or a pointer to them
};
static_assert(sizeof(ShortBytes) == 32);

}  // namespace skerry
