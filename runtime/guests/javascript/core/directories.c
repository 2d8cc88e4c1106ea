// Names in the file system: stat, list, make, remove, rename, link. A failed call answers a negative errno.
#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static double milliseconds(struct timespec t)
{
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

// stat(path or fd, follow) -> Float64Array-like list [mode, size, mtime, atime, ctime, ino, nlink, dev], or -errno
static JSValue js_stat(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    struct stat st;
    int failed, fd;
    if (JS_IsNumber(argv[0])) {
        if (JS_ToInt32(ctx, &fd, argv[0]))
            return JS_EXCEPTION;
        failed = fstat(fd, &st);
    } else {
        const char *path = JS_ToCString(ctx, argv[0]);
        if (!path)
            return JS_EXCEPTION;
        failed = JS_ToBool(ctx, argv[1]) ? stat(path, &st) : lstat(path, &st);
        JS_FreeCString(ctx, path);
    }
    if (failed)
        return JS_NewInt32(ctx, -errno);
    double values[] = {
        st.st_mode, (double)st.st_size, milliseconds(st.st_mtim), milliseconds(st.st_atim),
        milliseconds(st.st_ctim), (double)st.st_ino, (double)st.st_nlink, (double)st.st_dev,
    };
    JSValue list = JS_NewArray(ctx);
    for (uint32_t i = 0; i < sizeof values / sizeof *values; i++)
        JS_SetPropertyUint32(ctx, list, i, JS_NewNumber(ctx, values[i]));
    return list;
}

// list(path) -> [name, kind, name, kind, ...], kind one of "file", "directory", "link", "other"; or -errno
static JSValue js_list(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    DIR *folder = opendir(path);
    int failed = errno;
    JS_FreeCString(ctx, path);
    if (!folder)
        return JS_NewInt32(ctx, -failed);
    JSValue list = JS_NewArray(ctx);
    uint32_t n = 0;
    for (struct dirent *e; (e = readdir(folder));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        const char *kind = e->d_type == DT_REG ? "file" : e->d_type == DT_DIR ? "directory"
                         : e->d_type == DT_LNK ? "link" : "other";
        JS_SetPropertyUint32(ctx, list, n++, JS_NewString(ctx, e->d_name));
        JS_SetPropertyUint32(ctx, list, n++, JS_NewString(ctx, kind));
    }
    closedir(folder);
    return list;
}

enum { MKDIR, RMDIR, UNLINK, CHDIR };

static JSValue js_one_path(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int what)
{
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    int failed = what == MKDIR ? mkdir(path, 0777) : what == RMDIR ? rmdir(path)
               : what == UNLINK ? unlink(path) : chdir(path);
    int number = errno;
    JS_FreeCString(ctx, path);
    return JS_NewInt32(ctx, failed ? -number : 0);
}

enum { RENAME, LINK, SYMLINK };

static JSValue js_two_paths(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int what)
{
    const char *from = JS_ToCString(ctx, argv[0]);
    const char *to = from ? JS_ToCString(ctx, argv[1]) : NULL;
    int failed = -1, number = 0;
    if (to) {
        failed = what == RENAME ? rename(from, to) : what == LINK ? link(from, to) : symlink(from, to);
        number = errno;
        JS_FreeCString(ctx, to);
    }
    if (from)
        JS_FreeCString(ctx, from);
    return to ? JS_NewInt32(ctx, failed ? -number : 0) : JS_EXCEPTION;
}

// readlink(path) -> text, or -errno
static JSValue js_readlink(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    char target[4096];
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    ssize_t n = readlink(path, target, sizeof target);
    int number = errno;
    JS_FreeCString(ctx, path);
    return n < 0 ? JS_NewInt32(ctx, -number) : JS_NewStringLen(ctx, target, (size_t)n);
}

// utimes(path, atime, mtime), in milliseconds
static JSValue js_utimes(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    double at, mt;
    if (JS_ToFloat64(ctx, &at, argv[1]) || JS_ToFloat64(ctx, &mt, argv[2]))
        return JS_EXCEPTION;
    const char *path = JS_ToCString(ctx, argv[0]);
    if (!path)
        return JS_EXCEPTION;
    struct timespec times[2] = {
        { (time_t)(at / 1e3), (long)(at - (double)(time_t)(at / 1e3) * 1e3) * 1000000 },
        { (time_t)(mt / 1e3), (long)(mt - (double)(time_t)(mt / 1e3) * 1e3) * 1000000 },
    };
    int failed = utimensat(AT_FDCWD, path, times, 0), number = errno;
    JS_FreeCString(ctx, path);
    return JS_NewInt32(ctx, failed ? -number : 0);
}

void add_directories(JSContext *ctx, JSValueConst native)
{
    static const struct {
        const char *name;
        int what;
    } one[] = { { "mkdir", MKDIR }, { "rmdir", RMDIR }, { "unlink", UNLINK }, { "chdir", CHDIR } },
      two[] = { { "rename", RENAME }, { "link", LINK }, { "symlink", SYMLINK } };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        JS_SetPropertyStr(ctx, native, one[i].name,
                          JS_NewCFunctionMagic(ctx, js_one_path, one[i].name, 1, JS_CFUNC_generic_magic, one[i].what));
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        JS_SetPropertyStr(ctx, native, two[i].name,
                          JS_NewCFunctionMagic(ctx, js_two_paths, two[i].name, 2, JS_CFUNC_generic_magic, two[i].what));
    add_function(ctx, native, "stat", js_stat, 2);
    add_function(ctx, native, "list", js_list, 1);
    add_function(ctx, native, "readlink", js_readlink, 1);
    add_function(ctx, native, "utimes", js_utimes, 3);
}
