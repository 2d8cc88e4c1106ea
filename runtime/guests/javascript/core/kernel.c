// The kernel: one runtime, one context, and the four functions that the host calls (runtime/guests/README.md). What user
// code sees is made by the prelude; this page only runs texts, and carries texts through the door.
#include "kernel.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

// Shadow stack that JavaScript may use before it gets a RangeError, of the 2 MiB that kernels.py links. The host's machine
// stack (wasmtime's `max_wasm_stack`) has to be 8 MiB for it: no recursion takes more than 4 times as much there.
#ifndef STACK_BYTES
#define STACK_BYTES (1792 * 1024)
#endif
// Garbage cycles are looked for after this much new memory: a look dirties every page that has objects.
#define GC_STEP (24 << 20)

__attribute__((import_module("host"), import_name("call")))
int host_call(const char *request, size_t len, char **response, size_t *response_len);

bool kernel_exiting;

static JSRuntime *rt;
static JSContext *ctx;
static JSValue rejections = JS_UNDEFINED;

// door(request) -> response
static JSValue js_door(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len, answer_len = 0;
    char *answer = NULL;
    const char *request = JS_ToCStringLen(c, &len, argv[0]);
    if (!request)
        return JS_EXCEPTION;
    output_flush();
    int failed = host_call(request, len, &answer, &answer_len);
    JS_FreeCString(c, request);
    JSValue text = JS_NewStringLen(c, answer ? answer : "", answer ? answer_len : 0);
    free(answer);
    if (!failed)
        return text;
    const char *why = JS_ToCString(c, text);
    JS_FreeValue(c, text);
    JS_ThrowInternalError(c, "%s", why ? why : "the host refused");
    JS_FreeCString(c, why);
    return JS_EXCEPTION;
}

// run(source, filename, async): a script in the global scope; with `async` a promise of {value}.
static JSValue js_run(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    size_t len;
    const char *text = JS_ToCStringLen(c, &len, argv[0]);
    const char *name = text ? JS_ToCString(c, argv[1]) : NULL;
    JSValue result = JS_EXCEPTION;
    if (name) {
        int flags = JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_BACKTRACE_BARRIER;
        if (argc > 2 && JS_ToBool(c, argv[2]))
            flags |= JS_EVAL_FLAG_ASYNC;
        if (argc > 3 && JS_ToBool(c, argv[3]))
            flags |= JS_EVAL_FLAG_COMPILE_ONLY;
        result = JS_Eval(c, text, len, name, flags);
        if ((flags & JS_EVAL_FLAG_COMPILE_ONLY) && !JS_IsException(result)) {
            JS_FreeValue(c, result);
            result = JS_UNDEFINED;
        }
        JS_FreeCString(c, name);
    }
    JS_FreeCString(c, text);
    return result;
}

// jobs(): runs microtasks until there are none; throws what one of them threw.
static JSValue js_jobs(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    JSContext *of;
    int result;
    while ((result = JS_ExecutePendingJob(rt, &of)) > 0)
        if (kernel_exiting)
            return JS_UNDEFINED;
    return result < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

// rejections(list): the array that gets [promise, reason] for each rejection nobody handles.
static JSValue js_rejections(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    JS_FreeValue(c, rejections);
    rejections = JS_DupValue(c, argv[0]);
    return JS_UNDEFINED;
}

static void on_rejection(JSContext *c, JSValueConst promise, JSValueConst reason, bool handled, void *opaque)
{
    int64_t count = 0;
    if (JS_GetLength(c, rejections, &count) < 0)
        return;
    if (!handled) {
        JSValue pair = JS_NewArray(c);
        JS_SetPropertyUint32(c, pair, 0, JS_DupValue(c, promise));
        JS_SetPropertyUint32(c, pair, 1, JS_DupValue(c, reason));
        JS_SetPropertyUint32(c, rejections, (uint32_t)count, pair);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        JSValue pair = JS_GetPropertyUint32(c, rejections, i);
        JSValue known = JS_IsObject(pair) ? JS_GetPropertyUint32(c, pair, 0) : JS_UNDEFINED;
        if (JS_IsStrictEqual(c, known, promise))
            JS_SetPropertyUint32(c, rejections, i, JS_UNDEFINED);
        JS_FreeValue(c, known);
        JS_FreeValue(c, pair);
    }
}

// promise(value) -> undefined where it is none, else [state, result]: 0 pending, 1 fulfilled, 2 rejected
static JSValue js_promise(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    int state = JS_PromiseState(c, argv[0]);
    if (state < 0)
        return JS_UNDEFINED;
    JSValue pair = JS_NewArray(c);
    JS_SetPropertyUint32(c, pair, 0, JS_NewInt32(c, state));
    JS_SetPropertyUint32(c, pair, 1, state ? JS_PromiseResult(c, argv[0]) : JS_UNDEFINED);
    return pair;
}

// proxy(value) -> undefined where it is none, else its target
static JSValue js_proxy(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    return JS_IsProxy(argv[0]) ? JS_GetProxyTarget(c, argv[0]) : JS_UNDEFINED;
}

// kind(value): the engine's name of an object's class
static JSValue js_kind(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    return engine_class_name(c, argv[0]);
}

// birth(hex): new randomness, clock from zero.
static JSValue js_birth(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    uint64_t seed = 0;
    const char *hex = JS_ToCString(c, argv[0]);
    if (!hex)
        return JS_EXCEPTION;
    for (const char *p = hex; *p; p++)
        seed = (seed ^ (uint8_t)*p) * 0x9e3779b97f4a7c15u + (seed >> 29);
    JS_FreeCString(c, hex);
    engine_reseed(c, seed);
    return JS_UNDEFINED;
}

// exit(): unwinds everything; nothing can catch it, and no more of the user's code runs in this turn.
static JSValue js_exit(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    kernel_exiting = true;
    engine_interrupt_soon(c);
    JS_ThrowInternalError(c, "exit");
    JSValue error = JS_GetException(c);
    JS_SetUncatchableError(c, error);
    return JS_Throw(c, error);
}

static int on_interrupt(JSRuntime *runtime, void *opaque)
{
    if (!kernel_exiting) {
        output_flush();
        return 0;
    }
    engine_interrupt_soon(ctx);
    return 1;
}

// memory() -> [bytes of the heap, bytes of the sandbox]
static JSValue js_memory(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    JSValue pair = JS_NewArray(c);
    JS_SetPropertyUint32(c, pair, 0, JS_NewInt64(c, (int64_t)engine_heap_size(rt)));
    JS_SetPropertyUint32(c, pair, 1, JS_NewInt64(c, (int64_t)__builtin_wasm_memory_size(0) << 16));
    return pair;
}

// collect(): looks for garbage now, and next after GC_STEP more.
static JSValue js_collect(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    JS_RunGC(rt);
    JS_SetGCThreshold(rt, engine_heap_size(rt) + GC_STEP);
    return JS_UNDEFINED;
}

static JSValue js_forget_jobs(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    engine_drop_jobs(c);
    return JS_UNDEFINED;
}

// Memory. The first time that the sandbox has no more, a reserve is given back: the engine needs some to say so.
#define RESERVE_BYTES (256 << 10)

static void *reserve;
static bool starved;

static void *checked(void *block)
{
    if (!block) {
        starved = true;
        free(reserve);
        reserve = NULL;
    }
    return block;
}

static void *memory_calloc(void *opaque, size_t count, size_t size) { return checked(calloc(count, size)); }
static void *memory_malloc(void *opaque, size_t size) { return checked(malloc(size)); }
static void memory_free(void *opaque, void *block) { free(block); }
static void *memory_realloc(void *opaque, void *block, size_t size) { return checked(realloc(block, size)); }

static size_t memory_size(const void *block) { return malloc_usable_size((void *)block); }

static const JSMallocFunctions memory_functions = { memory_calloc, memory_malloc, memory_free, memory_realloc,
                                                    memory_size };

// starved(): did memory run out in this turn?
static JSValue js_starved(JSContext *c, JSValueConst self, int argc, JSValueConst *argv)
{
    return JS_NewBool(c, starved);
}

__attribute__((export_name("boot"))) int boot(void)
{
    reserve = malloc(RESERVE_BYTES);
    rt = JS_NewRuntime2(&memory_functions, NULL);
    ctx = rt ? JS_NewContext(rt) : NULL;
    if (!ctx)
        return 1;
    JS_SetGCThreshold(rt, GC_STEP);
    JS_SetInterruptHandler(rt, on_interrupt, NULL);
    JS_SetHostPromiseRejectionTracker(rt, on_rejection, NULL);
    chdir("/home/user");
    JSValue native = JS_NewObject(ctx);
    add_function(ctx, native, "door", js_door, 1);
    add_function(ctx, native, "run", js_run, 4);
    add_function(ctx, native, "jobs", js_jobs, 0);
    add_function(ctx, native, "forgetJobs", js_forget_jobs, 0);
    add_function(ctx, native, "rejections", js_rejections, 1);
    add_function(ctx, native, "promise", js_promise, 1);
    add_function(ctx, native, "proxy", js_proxy, 1);
    add_function(ctx, native, "kind", js_kind, 1);
    add_function(ctx, native, "birth", js_birth, 1);
    add_function(ctx, native, "exit", js_exit, 0);
    add_function(ctx, native, "memory", js_memory, 0);
    add_function(ctx, native, "starved", js_starved, 0);
    add_function(ctx, native, "collect", js_collect, 0);
    add_output(ctx, native);
    add_files(ctx, native);
    add_directories(ctx, native);
    add_bytes(ctx, native);
    add_digest(ctx, native);
    add_modules(ctx, native);
    // The prelude hangs its parts here, and in the end leaves only what a turn needs.
    JSValue kernel = JS_NewObject(ctx);
    JS_SetPropertyStr(ctx, kernel, "native", native);
    JSValue global = JS_GetGlobalObject(ctx);
    JS_DefinePropertyValueStr(ctx, global, "__cofferdam", kernel, JS_PROP_CONFIGURABLE | JS_PROP_WRITABLE);
    JS_FreeValue(ctx, global);
    return 0;
}

// Memory for the host to put a text into; one byte more, for the zero that the engine wants behind a text.
__attribute__((export_name("host_alloc"))) void *host_alloc(size_t len)
{
    return malloc(len + 1);
}

// An error that even the prelude could not report: memory ran out, or the prelude is wrong. Needs no memory of its own.
static int report_plainly(JSValue error)
{
    static const char no_memory[] = "{\"op\":\"error\",\"name\":\"InternalError\",\"message\":\"out of memory\","
                                    "\"traceback\":\"InternalError: out of memory\"}";
    char *answer = NULL;
    size_t answer_len = 0;
    output_flush();
    if (starved) {
        host_call(no_memory, sizeof no_memory - 1, &answer, &answer_len);
        free(answer);
        return 1;
    }
    const char *why = JS_ToCString(ctx, error);
    if (why) {
        output_write(2, why, strlen(why));
        output_write(2, "\n", 1);
    }
    JS_FreeCString(ctx, why);
    return 1;
}

// Runs one text, which it frees. An integer below 3 as its value is the status.
__attribute__((export_name("turn"))) int turn(char *text, size_t len)
{
    int status = 0;
    if (len == 0)
        return 0;
    text[len] = 0;
    kernel_exiting = false;
    starved = false;
    if (!reserve)
        reserve = malloc(RESERVE_BYTES);
    engine_limit_stack(rt, STACK_BYTES);
    engine_open_scope(ctx);
    JSValue value = JS_Eval(ctx, text, len, "<kernel>", JS_EVAL_TYPE_GLOBAL);
    free(text);
    if (JS_IsException(value)) {
        JSValue error = JS_GetException(ctx);
        status = kernel_exiting ? 2 : report_plainly(error);
        JS_FreeValue(ctx, error);
    } else if (JS_VALUE_GET_TAG(value) == JS_TAG_INT && JS_VALUE_GET_INT(value) < 3) {
        status = JS_VALUE_GET_INT(value);
    }
    JS_FreeValue(ctx, value);
    engine_drop_jobs(ctx);
    output_flush();
    kernel_exiting = false;
    return status;
}
