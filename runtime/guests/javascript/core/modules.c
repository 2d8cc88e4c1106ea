// ES modules: the engine asks for a name and a source, the prelude (`native.modules`) knows them.
#include "kernel.h"

#include <stdlib.h>

static JSValue hooks = JS_UNDEFINED;

static JSValue ask(JSContext *ctx, const char *hook, const char *a, const char *b)
{
    JSValue f = JS_GetPropertyStr(ctx, hooks, hook);
    JSValue args[] = { JS_NewString(ctx, a), JS_NewString(ctx, b) };
    JSValue answer = JS_Call(ctx, f, hooks, 2, args);
    JS_FreeValue(ctx, args[0]);
    JS_FreeValue(ctx, args[1]);
    JS_FreeValue(ctx, f);
    return answer;
}

// The module that `base` means by `name`.
static char *normalize(JSContext *ctx, const char *base, const char *name, void *opaque)
{
    JSValue answer = ask(ctx, "resolve", base, name);
    const char *text = JS_IsException(answer) ? NULL : JS_ToCString(ctx, answer);
    JS_FreeValue(ctx, answer);
    if (!text)
        return NULL;
    char *copy = js_strdup(ctx, text);
    JS_FreeCString(ctx, text);
    return copy;
}

// Puts the properties of the object that `load` answered into the module's exports.
static int fill(JSContext *ctx, JSModuleDef *m)
{
    JSPropertyEnum *names;
    uint32_t count;
    JSValue exports = JS_GetModulePrivateValue(ctx, m);
    int failed = JS_GetOwnPropertyNames(ctx, &names, &count, exports, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY);
    if (failed == 0) {
        for (uint32_t i = 0; i < count && !failed; i++) {
            const char *name = JS_AtomToCString(ctx, names[i].atom);
            failed = !name || JS_SetModuleExport(ctx, m, name, JS_GetProperty(ctx, exports, names[i].atom));
            JS_FreeCString(ctx, name);
        }
        JS_FreePropertyEnum(ctx, names, count);
    }
    JS_FreeValue(ctx, exports);
    return failed ? -1 : 0;
}

static JSModuleDef *made_of(JSContext *ctx, const char *module_name, JSValue exports)
{
    JSPropertyEnum *names;
    uint32_t count;
    JSModuleDef *m = JS_NewCModule(ctx, module_name, fill);
    if (!m || JS_GetOwnPropertyNames(ctx, &names, &count, exports, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY))
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        const char *name = JS_AtomToCString(ctx, names[i].atom);
        if (name)
            JS_AddModuleExport(ctx, m, name);
        JS_FreeCString(ctx, name);
    }
    JS_FreePropertyEnum(ctx, names, count);
    JS_SetModulePrivateValue(ctx, m, JS_DupValue(ctx, exports));
    return m;
}

static JSModuleDef *compiled(JSContext *ctx, const char *module_name, JSValue source)
{
    size_t len;
    JSModuleDef *m = NULL;
    const char *text = JS_ToCStringLen(ctx, &len, source);
    if (!text)
        return NULL;
    JSValue module = JS_Eval(ctx, text, len, module_name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    JS_FreeCString(ctx, text);
    if (JS_IsException(module))
        return NULL;
    m = JS_VALUE_GET_PTR(module);
    JSValue meta = JS_GetImportMeta(ctx, m);
    JSValue filled = JS_UNDEFINED;
    if (!JS_IsException(meta)) {
        JSValue f = JS_GetPropertyStr(ctx, hooks, "meta");
        JSValue args[] = { meta, JS_NewString(ctx, module_name) };
        filled = JS_Call(ctx, f, hooks, 2, args);
        JS_FreeValue(ctx, args[1]);
        JS_FreeValue(ctx, f);
    }
    JS_FreeValue(ctx, meta);
    JS_FreeValue(ctx, filled);
    // The engine's list of modules keeps it alive.
    JS_FreeValue(ctx, module);
    return m;
}

static JSModuleDef *load(JSContext *ctx, const char *module_name, void *opaque)
{
    JSValue answer = ask(ctx, "load", module_name, "");
    JSModuleDef *m = NULL;
    if (JS_IsString(answer))
        m = compiled(ctx, module_name, answer);
    else if (!JS_IsException(answer))
        m = made_of(ctx, module_name, answer);
    JS_FreeValue(ctx, answer);
    return m;
}

// modules({resolve(base, name), load(name), meta(object, name)})
static JSValue js_modules(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    JS_FreeValue(ctx, hooks);
    hooks = JS_DupValue(ctx, argv[0]);
    JS_SetModuleLoaderFunc(JS_GetRuntime(ctx), normalize, load, NULL);
    return JS_UNDEFINED;
}

void add_modules(JSContext *ctx, JSValueConst native)
{
    add_function(ctx, native, "modules", js_modules, 1);
}
