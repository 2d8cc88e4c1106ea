// Files by handle: open, read, write, size. A failed call answers a negative errno; files.js makes the Error of it.
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

// open(path, flags, mode) -> handle. `flags` is one of r r+ w w+ wx wx+ a a+ ax ax+ (Node's words).
static JSValue js_open(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    const char *flags = path ? JS_ToCString(ctx, argv[1]) : NULL;
    int result = -EINVAL, how = -1;
    if (flags) {
        bool both = strchr(flags, '+') != NULL;
        if (flags[0] == 'r')
            how = both ? O_RDWR : O_RDONLY;
        else if (flags[0] == 'w')
            how = O_CREAT | O_TRUNC | (both ? O_RDWR : O_WRONLY);
        else if (flags[0] == 'a')
            how = O_CREAT | O_APPEND | (both ? O_RDWR : O_WRONLY);
        if (how >= 0) {
            if (strchr(flags, 'x'))
                how |= O_EXCL;
            output_flush();
            result = open(path, how, 0666);
            if (result < 0)
                result = -errno;
        }
        JS_FreeCString(ctx, flags);
    }
    if (path)
        JS_FreeCString(ctx, path);
    return flags ? JS_NewInt32(ctx, result) : JS_EXCEPTION;
}

static JSValue js_close(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    int fd;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    return JS_NewInt32(ctx, close(fd) ? -errno : 0);
}

// read/write(fd, bytes, offset, length, position or -1) -> bytes moved
static JSValue move(JSContext *ctx, JSValueConst *argv, bool out)
{
    int fd;
    size_t size;
    int64_t offset, length, position;
    uint8_t *bytes = bytes_of(ctx, &size, argv[1]);
    if (!bytes && size)
        return JS_EXCEPTION;
    if (JS_ToInt32(ctx, &fd, argv[0]) || !engine_clamp(ctx, &offset, argv[2], 0, (int64_t)size) ||
        !engine_clamp(ctx, &length, argv[3], 0, (int64_t)size - offset) || JS_ToInt64(ctx, &position, argv[4]))
        return JS_EXCEPTION;
    if (length == 0)
        return JS_NewInt32(ctx, 0);
    if (out && (fd == 1 || fd == 2)) {
        int failed = output_write(fd, (const char *)bytes + offset, (size_t)length);
        return failed ? JS_NewInt32(ctx, failed) : JS_NewInt64(ctx, length);
    }
    if (fd == 0)
        output_flush();
    ssize_t n = out ? position < 0 ? write(fd, bytes + offset, length) : pwrite(fd, bytes + offset, length, position)
                : position < 0 ? read(fd, bytes + offset, length) : pread(fd, bytes + offset, length, position);
    return JS_NewInt64(ctx, n < 0 ? -errno : n);
}

static JSValue js_read(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    return move(ctx, argv, false);
}

static JSValue js_write(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    return move(ctx, argv, true);
}

// truncate(fd, length)
static JSValue js_truncate(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    int fd;
    int64_t length;
    if (JS_ToInt32(ctx, &fd, argv[0]) || JS_ToInt64(ctx, &length, argv[1]))
        return JS_EXCEPTION;
    return JS_NewInt32(ctx, ftruncate(fd, length) ? -errno : 0);
}

// error(number) -> [code, text]
static JSValue js_error(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    static const struct {
        int number;
        const char *code, *text;
    } known[] = {
        { EACCES, "EACCES", "permission denied" },
        { EBADF, "EBADF", "bad file descriptor" },
        { EBUSY, "EBUSY", "resource busy or locked" },
        { EDQUOT, "EDQUOT", "disk quota exceeded" },
        { EEXIST, "EEXIST", "file already exists" },
        { EFBIG, "EFBIG", "file too large" },
        { EINVAL, "EINVAL", "invalid argument" },
        { EIO, "EIO", "i/o error" },
        { EISDIR, "EISDIR", "illegal operation on a directory" },
        { ELOOP, "ELOOP", "too many symbolic links encountered" },
        { EMFILE, "EMFILE", "too many open files" },
        { EMLINK, "EMLINK", "too many links" },
        { ENAMETOOLONG, "ENAMETOOLONG", "name too long" },
        { ENFILE, "ENFILE", "file table overflow" },
        { ENOENT, "ENOENT", "no such file or directory" },
        { ENOMEM, "ENOMEM", "not enough memory" },
        { ENOSPC, "ENOSPC", "no space left on device" },
        { ENOSYS, "ENOSYS", "function not implemented" },
        { ENOTCAPABLE, "EACCES", "permission denied" },
        { ENOTDIR, "ENOTDIR", "not a directory" },
        { ENOTEMPTY, "ENOTEMPTY", "directory not empty" },
        { ENOTSUP, "ENOTSUP", "operation not supported on socket" },
        { EPERM, "EPERM", "operation not permitted" },
        { EPIPE, "EPIPE", "broken pipe" },
        { EROFS, "EROFS", "read-only file system" },
        { ESPIPE, "ESPIPE", "invalid seek" },
        { EXDEV, "EXDEV", "cross-device link not permitted" },
    };
    int number;
    if (JS_ToInt32(ctx, &number, argv[0]))
        return JS_EXCEPTION;
    const char *code = "EIO", *text = strerror(number);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == number)
            code = known[i].code, text = known[i].text;
    JSValue pair = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, pair, 0, JS_NewString(ctx, code));
    JS_SetPropertyUint32(ctx, pair, 1, JS_NewString(ctx, text));
    return pair;
}

void add_files(JSContext *ctx, JSValueConst native)
{
    add_function(ctx, native, "open", js_open, 2);
    add_function(ctx, native, "close", js_close, 1);
    add_function(ctx, native, "read", js_read, 5);
    add_function(ctx, native, "write", js_write, 5);
    add_function(ctx, native, "truncate", js_truncate, 2);
    add_function(ctx, native, "error", js_error, 1);
}
