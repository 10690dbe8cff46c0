#include "net/compress.hpp"

#include <zstd.h>

#include <memory>

namespace skerry {

namespace {
// Contexts are costly to make (some 100 KiB of tables) and hold nothing between calls: one a
// thread.
struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
ZSTD_CCtx* compression_context() {
    thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
    return context.get();
}
ZSTD_DCtx* decompression_context() {
    thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
    return context.get();
}
}  // namespace

std::optional<std::string> compress(std::string_view plain) {
    ZSTD_CCtx* context = compression_context();
    if (context == nullptr || plain.empty()) return std::nullopt;
    // Room for nine tenths and not more: where that does not suffice, zstd stops early, which is
    // what we want.
    std::string out(plain.size() - plain.size() / 10 - 1, '\0');
    const std::size_t written =
        ZSTD_compressCCtx(context, out.data(), out.size(), plain.data(), plain.size(), 1);
    if (ZSTD_isError(written) != 0) return std::nullopt;
    out.resize(written);
    return out;
}

Result<std::string> decompress(std::string_view compressed, std::size_t plain_bytes_max) {
    const unsigned long long declared =
        ZSTD_getFrameContentSize(compressed.data(), compressed.size());
    if (declared == ZSTD_CONTENTSIZE_ERROR || declared == ZSTD_CONTENTSIZE_UNKNOWN)
        return fail(Code::malformed, "zstd: not a frame that declares its size");
    if (declared > plain_bytes_max)
        return fail(Code::too_large, "zstd: declares more than is allowed here");
    const std::size_t first_frame =
        ZSTD_findFrameCompressedSize(compressed.data(), compressed.size());
    if (ZSTD_isError(first_frame) != 0 || first_frame != compressed.size())
        return fail(Code::malformed, "zstd: not exactly one frame");
    ZSTD_DCtx* context = decompression_context();
    if (context == nullptr) return fail(Code::out_of_space, "zstd: no memory");
    std::string plain(declared, '\0');
    const std::size_t written = ZSTD_decompressDCtx(context, plain.data(), plain.size(),
                                                    compressed.data(), compressed.size());
    if (ZSTD_isError(written) != 0 || written != declared)
        return fail(Code::malformed, "zstd: damaged frame");
    return plain;
}

}  // namespace skerry
