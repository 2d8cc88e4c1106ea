// The engine itself, and the few doors into its structures that its own API does not have. It adds no behaviour.
//
// QuickJS-ng has no stack check on WASI (`update_stack_limit`), gives every context born from one image the same random
// numbers, and cannot forget a top-level `let`. These are set from here, so that its sources stay as they were published.

// kernels.py writes ENGINE_WEIGHT at the start of the functions that recurse with little shadow stack, which is all that the
// engine's check can see, and much machine stack: with it no recursion takes more than 4 bytes of the machine's for one of
// the shadow's (measured).
#define ENGINE_WEIGHT engine_weigh(__builtin_alloca(ENGINE_WEIGHT_BYTES))
#ifndef ENGINE_WEIGHT_BYTES
#define ENGINE_WEIGHT_BYTES 512
#endif
static inline void engine_weigh(void *stack)
{
    __asm__ volatile("" : : "r"(stack) : "memory");
}

#include "quickjs.c"

#include "kernel.h"

// Deeper recursion than `bytes` of shadow stack becomes a RangeError. To be called at the bottom of the stack.
void engine_limit_stack(JSRuntime *rt, size_t bytes)
{
    rt->stack_top = js_get_stack_pointer();
    rt->stack_limit = rt->stack_top > bytes ? rt->stack_top - bytes : 0;
}

// A birth: Math.random() from `seed`, and performance.now() from 0.
void engine_reseed(JSContext *ctx, uint64_t seed)
{
    ctx->random_state = seed ? seed : 1;
    ctx->time_origin = js__now_ms();
}

// Lets the next script declare again what an earlier one declared at top level: `let`, `const` and `class` become
// properties of the global object, and everything that scripts put there can be replaced.
void engine_open_scope(JSContext *ctx)
{
    JSObject *lexical = JS_VALUE_GET_OBJ(ctx->global_var_obj);
    JSObject *global = JS_VALUE_GET_OBJ(ctx->global_obj);
    JSPropertyEnum *names;
    uint32_t count;

    if (lexical->shape->prop_count - lexical->shape->deleted_prop_count > 0 &&
        JS_GetOwnPropertyNames(ctx, &names, &count, ctx->global_var_obj, JS_GPN_STRING_MASK) == 0) {
        for (uint32_t i = 0; i < count; i++) {
            JSProperty *pr;
            JSShapeProperty *prs = find_own_property(&pr, lexical, names[i].atom);
            if (prs && !JS_IsUninitialized(pr->u.value)) {
                int flags = JS_PROP_CONFIGURABLE | JS_PROP_ENUMERABLE | (prs->flags & JS_PROP_WRITABLE);
                JS_DefinePropertyValue(ctx, ctx->global_obj, names[i].atom, js_dup(pr->u.value), flags);
            }
            delete_property(ctx, lexical, names[i].atom);
        }
        JS_FreePropertyEnum(ctx, names, count);
    }
    // `var` and `function` at top level: writable and enumerable, unlike `undefined`, `NaN` and our own.
    const int own = JS_PROP_WRITABLE | JS_PROP_ENUMERABLE;
    for (uint32_t i = 0; i < global->shape->prop_count; i++) {
        JSShapeProperty *prs = &get_shape_prop(global->shape)[i];
        if (prs->atom != JS_ATOM_NULL && (prs->flags & (JS_PROP_TMASK | JS_PROP_C_W_E)) == own)
            if (js_update_property_flags(ctx, global, &prs, prs->flags | JS_PROP_CONFIGURABLE))
                return;
    }
}

// The next call or loop turn asks the interrupt handler.
void engine_interrupt_soon(JSContext *ctx)
{
    ctx->interrupt_counter = 1;
}

// Forgets pending jobs: after an uncaught error or an exit nothing of the user's runs any more.
void engine_drop_jobs(JSContext *ctx)
{
    JSRuntime *rt = ctx->rt;
    while (!list_empty(&rt->job_list)) {
        JSJobEntry *e = list_entry(rt->job_list.next, JSJobEntry, link);
        list_del(&e->link);
        for (int i = 0; i < e->argc; i++)
            JS_FreeValue(ctx, e->argv[i]);
        JS_FreeContext(e->ctx);
        js_free(ctx, e);
    }
}

size_t engine_heap_size(JSRuntime *rt)
{
    return rt->malloc_state.malloc_size;
}

// The engine's own name of an object's class ("Map", "Error", "Proxy"), which user code cannot change.
JSValue engine_class_name(JSContext *ctx, JSValueConst value)
{
    if (JS_VALUE_GET_TAG(value) != JS_TAG_OBJECT)
        return JS_UNDEFINED;
    return JS_AtomToString(ctx, ctx->rt->class_array[JS_VALUE_GET_OBJ(value)->class_id].class_name);
}

// `value` as an integer from `least` to `most`; false with an exception pending where it is no number.
bool engine_clamp(JSContext *ctx, int64_t *out, JSValueConst value, int64_t least, int64_t most)
{
    return JS_ToInt64Clamp(ctx, out, value, least, most, 0) == 0;
}
