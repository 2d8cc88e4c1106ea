use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
fn main() {
    let mut args = std::env::args().skip(1);
    let kernels = args.next().unwrap();
    let cache = args.next().unwrap();
    let t = Instant::now();
    cofferdam_runtime::prepare(Path::new(&kernels), Path::new(&cache), &mut |l| println!("{:?} {l}", t.elapsed())).unwrap();
    println!("prepared {:?}", t.elapsed());
    let engine = cofferdam_runtime::engine::kernel_engine().unwrap();
    cofferdam_runtime::engine::start_ticker(&engine).unwrap();
    let cache = cofferdam_runtime::artifact::ArtifactCache::open(Path::new(&cache)).unwrap();
    let budget = cofferdam_host_api::Budget::new(1 << 30);
    let folder = Path::new(&kernels).join(args.next().unwrap());
    let t = Instant::now();
    let kernel = cofferdam_runtime::kernel::Kernel::load(&engine, &cache, &folder, &budget, 4).unwrap();
    println!("loaded {:?} image {} MiB", t.elapsed(), kernel.image().len() >> 20);
    let code = args.next().unwrap();
    let n: usize = args.next().unwrap().parse().unwrap();
    let org = cofferdam_contract::OrganizationId::default_organization();
    let spec = serde_json::json!({"code": code, "language": kernel.name(), "filename": "main.py", "args": [], "env": {}, "birth": "ab".repeat(32), "svg": false});
    let text = kernel.turn_text(&spec.to_string());
    let h = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let mut times = vec![];
        for i in 0..n {
            let t0 = Instant::now();
            let vfs = cofferdam_host_api::Vfs::new(Arc::clone(kernel.base()), cofferdam_host_api::Quota { disk_bytes: 1 << 26, files: 1000, open_files: 256 }).unwrap();
            let mut sb = cofferdam_host_api::Sandbox::new(vfs);
            if i == 0 {
                sb.set_output(Box::new(|_s: cofferdam_host_api::Stdio, b: &[u8]| -> Result<(), cofferdam_host_api::Stop> { print!("{}", String::from_utf8_lossy(b)); Ok(()) }));
            }
            let first = i == 0;
            sb.set_door(Box::new(move |r: &[u8]| -> Result<Vec<u8>, String> { if first { println!("DOOR {}", &String::from_utf8_lossy(r).chars().take(600).collect::<String>()); } Ok(b"{}".to_vec()) }));
            let slot = kernel.slots().take(&org).unwrap();
            let mut g = cofferdam_runtime::guest::Guest::birth(&kernel, slot, cofferdam_runtime::guest::State::new(sb)).unwrap();
            let t1 = Instant::now();
            let (end, usage) = g.turn(&text, cofferdam_runtime::guest::Bounds { interrupt: cofferdam_host_api::Interrupt::new(Instant::now().checked_add(Duration::from_secs(20))), cpu: Duration::from_secs(20), memory_bytes: 1 << 30 });
            let t2 = Instant::now();
            if first { println!("{end:?} {usage:?}"); }
            let private = if first { g.slot().private_bytes().unwrap() } else { 0 };
            let (slot, _) = g.end();
            let t3 = Instant::now();
            if let Some(slot) = slot {
                if first { println!("private {private}"); }
                kernel.slots().give(&org, slot);
            }
            times.push((t1 - t0, t2 - t1, t3 - t2, t3.elapsed()));
        }
        let mut slot = kernel.slots().take(&org).unwrap();
        let t = Instant::now();
        let p = slot.private_bytes().unwrap();
        println!("scan {:?} private {} KiB", t.elapsed(), p >> 10);
        let t = Instant::now();
        let st = slot.reset().unwrap();
        println!("reset {:?} {st:?}", t.elapsed());
        let med = |f: fn(&(Duration, Duration, Duration, Duration)) -> Duration| { let mut v: Vec<_> = times.iter().map(f).collect(); v.sort(); v[v.len() / 2] };
        println!("birth {:?} turn {:?} end {:?} reset {:?}", med(|t| t.0), med(|t| t.1), med(|t| t.2), med(|t| t.3));
    }).unwrap();
    h.join().unwrap();
}
