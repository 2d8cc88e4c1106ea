fn main() {
    let a: Vec<String> = std::env::args().collect();
    tracing_subscriber::fmt().init();
    cofferdam_runtime::prepare(a[1].as_ref(), a[2].as_ref(), &mut |l| println!("{l}")).unwrap();
    let _ = std::fs::remove_file(&a[4]);
    let l = std::os::unix::net::UnixListener::bind(&a[4]).unwrap();
    cofferdam_runtime::worker::serve(l, cofferdam_runtime::worker::WorkerConfig { kernels_dir: a[1].clone().into(), cache_dir: a[2].clone().into(), state_dir: a[3].clone().into(), ..Default::default() }).unwrap();
}
