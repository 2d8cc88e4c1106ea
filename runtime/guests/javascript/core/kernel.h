// What the pages of the JavaScript kernel's core share. Everything here runs inside the sandbox; the host trusts none of
// it. See README.md one folder up.
#ifndef COFFERDAM_KERNEL_H
#define COFFERDAM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "quickjs.h"

// engine.c: what needs QuickJS's own structures.
void engine_limit_stack(JSRuntime *rt, size_t bytes);
void engine_reseed(JSContext *ctx, uint64_t seed);
void engine_open_scope(JSContext *ctx);
void engine_interrupt_soon(JSContext *ctx);
void engine_drop_jobs(JSContext *ctx);
size_t engine_heap_size(JSRuntime *rt);
JSValue engine_class_name(JSContext *ctx, JSValueConst value);
bool engine_clamp(JSContext *ctx, int64_t *out, JSValueConst value, int64_t least, int64_t most);

// kernel.c
extern bool kernel_exiting;

// output.c: stdout and stderr, held back for a moment so that many small writes cost few calls of the host.
void output_flush(void);
int output_write(int fd, const char *text, size_t len);

// Each page adds its functions to the object `native` that only the prelude sees.
void add_output(JSContext *ctx, JSValueConst native);
void add_files(JSContext *ctx, JSValueConst native);
void add_directories(JSContext *ctx, JSValueConst native);
void add_bytes(JSContext *ctx, JSValueConst native);
void add_digest(JSContext *ctx, JSValueConst native);
void add_modules(JSContext *ctx, JSValueConst native);

static inline void add_function(JSContext *ctx, JSValueConst native, const char *name, JSCFunction *f, int length)
{
    JS_SetPropertyStr(ctx, native, name, JS_NewCFunction(ctx, f, name, length));
}

// The bytes of an ArrayBuffer or of a view of one; NULL with an exception pending otherwise.
uint8_t *bytes_of(JSContext *ctx, size_t *len, JSValueConst value);

#endif
