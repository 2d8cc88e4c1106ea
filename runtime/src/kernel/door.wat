;; The raw door of a kernel, `host.call(ptr, len, out_ptr_ptr, out_len_ptr) -> i32`, over the typed import of
;; wit/kernel.wit: 0 with the response where the out pointers say, or -1.
(module
  (import "cofferdam:kernel/door@0.1.0" "call" (func $door (param i32 i32 i32)))
  (import "cofferdam:kernel/door@0.1.0" "exit" (func $exit (param i32)))
  (import "env" "memory" (memory 0))
  (import "__main_module__" "cabi_realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  ;; Where the typed call puts its result: made at the first call of an instance, 12 bytes.
  (global $area (mut i32) (i32.const 0))
  (func (export "call") (param $ptr i32) (param $len i32) (param $out_ptr i32) (param $out_len i32) (result i32)
    (if (i32.eqz (global.get $area))
      (then (global.set $area (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 12)))))
    (if (i32.eqz (global.get $area)) (then (return (i32.const -1))))
    (call $door (local.get $ptr) (local.get $len) (global.get $area))
    (i32.store (local.get $out_ptr) (i32.load offset=4 (global.get $area)))
    (i32.store (local.get $out_len) (i32.load offset=8 (global.get $area)))
    (if (result i32) (i32.load8_u (global.get $area)) (then (i32.const -1)) (else (i32.const 0))))
  ;; preview1's `proc_exit`, which `rewrite.rs` points here.
  (func (export "proc_exit") (param $code i32) (call $exit (local.get $code)) unreachable)
  (func (export "cabi_import_realloc") (param i32 i32 i32 i32) (result i32)
    (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
)
