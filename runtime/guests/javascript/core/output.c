// stdout and stderr, sleeping, clocks and randomness: the small WASI calls. Never throws on a failed write.
#include "kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <wasi/api.h>

#define HELD_BYTES 8192

static char held[HELD_BYTES];
static size_t held_len;
static int held_fd = 1;

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return -errno;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

void output_flush(void)
{
    if (held_len > 0) {
        size_t len = held_len;
        held_len = 0;
        write_all(held_fd, held, len);
    }
}

int output_write(int fd, const char *text, size_t len)
{
    if (fd != held_fd || held_len + len > HELD_BYTES)
        output_flush();
    if (len > HELD_BYTES)
        return write_all(fd, text, len);
    held_fd = fd;
    memcpy(held + held_len, text, len);
    held_len += len;
    return 0;
}

// print(fd, text or bytes)
static JSValue js_print(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    int fd;
    size_t len;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    if (JS_IsObject(argv[1])) {
        const uint8_t *bytes = bytes_of(ctx, &len, argv[1]);
        if (!bytes && len)
            return JS_EXCEPTION;
        return JS_NewInt32(ctx, output_write(fd, (const char *)bytes, len));
    }
    const char *text = JS_ToCStringLen(ctx, &len, argv[1]);
    if (!text)
        return JS_EXCEPTION;
    int result = output_write(fd, text, len);
    JS_FreeCString(ctx, text);
    return JS_NewInt32(ctx, result);
}

// sleep(milliseconds)
static JSValue js_sleep(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    double ms;
    if (JS_ToFloat64(ctx, &ms, argv[0]))
        return JS_EXCEPTION;
    output_flush();
    if (ms > 0) {
        __wasi_subscription_t in = { .u.tag = __WASI_EVENTTYPE_CLOCK };
        in.u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
        in.u.u.clock.timeout = ms > 1e12 ? (uint64_t)1e18 : (uint64_t)(ms * 1e6);
        __wasi_event_t out;
        __wasi_size_t count;
        __wasi_poll_oneoff(&in, &out, 1, &count);
    }
    return JS_UNDEFINED;
}

// clock(): monotonic nanoseconds as a float; good for differences.
static JSValue js_clock(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    __wasi_timestamp_t now = 0;
    __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &now);
    return JS_NewFloat64(ctx, (double)now);
}

// random(bytes): fills them from the host's generator.
static JSValue js_random(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len;
    uint8_t *bytes = bytes_of(ctx, &len, argv[0]);
    if (!bytes && len)
        return JS_EXCEPTION;
    if (len && __wasi_random_get(bytes, len) != 0)
        return JS_ThrowInternalError(ctx, "no randomness from the host");
    return JS_UNDEFINED;
}

void add_output(JSContext *ctx, JSValueConst native)
{
    add_function(ctx, native, "print", js_print, 2);
    add_function(ctx, native, "sleep", js_sleep, 1);
    add_function(ctx, native, "clock", js_clock, 0);
    add_function(ctx, native, "random", js_random, 1);
}
