// Bytes to text and back: UTF-8, UTF-16LE, Latin-1, hex. Base64 is the engine's own.
#include "kernel.h"

#include <stdlib.h>

uint8_t *bytes_of(JSContext *ctx, size_t *len, JSValueConst value)
{
    *len = 0;
    if (JS_GetTypedArrayType(value) >= 0) {
        size_t offset, length, size;
        JSValue buffer = JS_GetTypedArrayBuffer(ctx, value, &offset, &length, NULL);
        if (JS_IsException(buffer))
            return *len = 1, NULL;
        uint8_t *base = JS_GetArrayBuffer(ctx, &size, buffer);
        JS_FreeValue(ctx, buffer);
        if (!base || offset + length > size)
            return NULL;
        *len = length;
        return base + offset;
    }
    if (!JS_IsArrayBuffer(value)) {
        *len = 1;
        JS_ThrowTypeError(ctx, "expected an ArrayBuffer or a typed array");
        return NULL;
    }
    return JS_GetArrayBuffer(ctx, len, value);
}

static bool is_utf8(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint8_t c = p[i++];
        if (c < 0x80)
            continue;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        uint32_t code = c & (0x3f >> more);
        if (c < 0xc2 || c > 0xf4 || i + (size_t)more > len)
            return false;
        for (int k = 0; k < more; k++, i++) {
            if ((p[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (p[i] & 0x3f);
        }
        static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}

// Reads (bytes, start, end) and clamps them.
static const uint8_t *read_range(JSContext *ctx, size_t *len, int argc, JSValueConst *argv)
{
    static const uint8_t none[1];
    size_t size;
    int64_t start = 0, end;
    const uint8_t *bytes = bytes_of(ctx, &size, argv[0]);
    *len = 0;
    if (!bytes)
        return size ? NULL : none;
    end = (int64_t)size;
    if (argc > 1 && !JS_IsUndefined(argv[1]) && !engine_clamp(ctx, &start, argv[1], 0, (int64_t)size))
        return NULL;
    if (argc > 2 && !JS_IsUndefined(argv[2]) && !engine_clamp(ctx, &end, argv[2], 0, (int64_t)size))
        return NULL;
    *len = end > start ? (size_t)(end - start) : 0;
    return bytes + start;
}

// The WHATWG decoder: every maximal invalid part of a sequence becomes one U+FFFD.
static JSValue decode_lossy(JSContext *ctx, const uint8_t *p, size_t len)
{
    uint16_t *out = malloc((len + 1) * 2);
    size_t n = 0;
    if (!out)
        return JS_ThrowOutOfMemory(ctx);
    for (size_t i = 0; i < len;) {
        uint8_t c = p[i++];
        uint32_t code = c;
        if (c >= 0x80) {
            int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
            uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
            uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
            code = c & (0x3f >> more);
            if (c < 0xc2 || c > 0xf4)
                more = 0, code = 0xfffd;
            for (; more > 0; more--, low = 0x80, high = 0xbf) {
                if (i >= len || p[i] < low || p[i] > high) {
                    code = 0xfffd;
                    break;
                }
                code = code << 6 | (p[i++] & 0x3f);
            }
        }
        if (code >= 0x10000) {
            out[n++] = (uint16_t)(0xd7c0 + (code >> 10));
            code = 0xdc00 | (code & 0x3ff);
        }
        out[n++] = (uint16_t)code;
    }
    JSValue text = JS_NewStringUTF16(ctx, out, n);
    free(out);
    return text;
}

// decodeUtf8(bytes, start, end, fatal): undefined where it is not UTF-8 and `fatal` is set.
static JSValue js_decode_utf8(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len;
    const uint8_t *bytes = read_range(ctx, &len, argc, argv);
    if (!bytes)
        return JS_EXCEPTION;
    if (is_utf8(bytes, len))
        return JS_NewStringLen(ctx, (const char *)bytes, len);
    if (argc > 3 && JS_ToBool(ctx, argv[3]))
        return JS_UNDEFINED;
    return decode_lossy(ctx, bytes, len);
}

// decodeLatin1(bytes, start, end)
static JSValue js_decode_latin1(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len;
    const uint8_t *bytes = read_range(ctx, &len, argc, argv);
    if (!bytes)
        return JS_EXCEPTION;
    uint16_t *wide = malloc((len + 1) * 2);
    if (!wide)
        return JS_ThrowOutOfMemory(ctx);
    for (size_t i = 0; i < len; i++)
        wide[i] = bytes[i];
    JSValue text = JS_NewStringUTF16(ctx, wide, len);
    free(wide);
    return text;
}

// decodeUtf16(bytes, start, end): little endian; an odd last byte is dropped.
static JSValue js_decode_utf16(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len;
    const uint8_t *bytes = read_range(ctx, &len, argc, argv);
    if (!bytes)
        return JS_EXCEPTION;
    uint16_t *wide = malloc(len + 2);
    if (!wide)
        return JS_ThrowOutOfMemory(ctx);
    memcpy(wide, bytes, len & ~(size_t)1);
    JSValue text = JS_NewStringUTF16(ctx, wide, len / 2);
    free(wide);
    return text;
}

// encodeUtf8(text) -> ArrayBuffer. A lone surrogate is the caller's to replace.
static JSValue js_encode_utf8(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len;
    const char *text = JS_ToCStringLen(ctx, &len, argv[0]);
    if (!text)
        return JS_EXCEPTION;
    JSValue buffer = JS_NewArrayBufferCopy(ctx, (const uint8_t *)text, len);
    JS_FreeCString(ctx, text);
    return buffer;
}

// encodeUtf16(text, narrow) -> ArrayBuffer of UTF-16LE, or of the low bytes only.
static JSValue js_encode_utf16(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len;
    bool narrow = argc > 1 && JS_ToBool(ctx, argv[1]);
    const uint16_t *wide = JS_ToCStringLenUTF16(ctx, &len, argv[0]);
    if (!wide)
        return JS_EXCEPTION;
    JSValue buffer = JS_EXCEPTION;
    if (!narrow) {
        buffer = JS_NewArrayBufferCopy(ctx, (const uint8_t *)wide, len * 2);
    } else {
        uint8_t *bytes = malloc(len + 1);
        for (size_t i = 0; bytes && i < len; i++)
            bytes[i] = (uint8_t)wide[i];
        buffer = bytes ? JS_NewArrayBufferCopy(ctx, bytes, len) : JS_ThrowOutOfMemory(ctx);
        free(bytes);
    }
    JS_FreeCStringUTF16(ctx, wide);
    return buffer;
}

void add_bytes(JSContext *ctx, JSValueConst native)
{
    add_function(ctx, native, "decodeUtf8", js_decode_utf8, 4);
    add_function(ctx, native, "decodeLatin1", js_decode_latin1, 3);
    add_function(ctx, native, "decodeUtf16", js_decode_utf16, 3);
    add_function(ctx, native, "encodeUtf8", js_encode_utf8, 1);
    add_function(ctx, native, "encodeUtf16", js_encode_utf16, 2);
}
