//! Pushes an image archive to a registry on this machine, ours and skopeo in turn: a new image gzipped and plain, the
//! same one again, and one through a pipe that is too large to buffer.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::archive;
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::pusher::{Registry, Took, gunzip, ours, ours_with, skopeo, version, watch};
use crate::service::{program, scratch};
use crate::stats::{Paired, Samples};

const ROW: &str = "image";
const PIPE: &str = "image-pipe";
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MAX_MIB: f64 = 64.0;
/// The cache of layers is a file of some kB.
const MAX_WRITTEN_MIB: f64 = 1.0;

/// The layers of a gigabyte: a base, a runtime, its libraries, and an agent.
const LAYERS: [u64; 5] = [120 * MIB, 560 * MIB, 250 * MIB, 90 * MIB, 4 * MIB];

pub(super) struct Archives {
    folder: tempfile::TempDir,
    plain: String,
    pub(super) gzip: String,
}

fn path(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string().into_string().map_err(|_| anyhow::anyhow!("the folder's name is no text"))
}

pub(super) fn archives(quick: bool) -> anyhow::Result<Archives> {
    let folder = scratch()?;
    let plain = path(folder.path().join("image.tar"))?;
    let layers = LAYERS.map(|size| if quick { size / 8 } else { size });
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&plain)?);
    archive::write(&mut file, &layers, u64::from(std::process::id()))?;
    file.flush()?;
    let status = Command::new("gzip").args(["-k", &plain]).status().context("gzip")?;
    anyhow::ensure!(status.success(), "gzip: {status}");
    Ok(Archives { gzip: format!("{plain}.gz"), plain, folder })
}

/// First and second push to a registry that is empty at first.
fn twice(make: impl Fn(&Registry, &Path) -> Command) -> anyhow::Result<(Took, Took)> {
    let (registry, folder) = (Registry::start()?, scratch()?);
    Ok((watch(make(&registry, folder.path()), None)?, watch(make(&registry, folder.path()), None)?))
}

#[derive(Default)]
struct Pairs {
    new: Paired,
    again: Paired,
}

impl Pairs {
    fn block(&mut self, ours: (Took, Took), peer: (f64, f64)) {
        self.new.block(&Samples::from_iter([ours.0.ms]), peer.0);
        self.again.block(&Samples::from_iter([ours.1.ms]), peer.1);
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    for needed in ["docker-registry", "skopeo"] {
        if version(needed).is_none() {
            let why = format!("{needed} is not installed (Debian's package of the same name)");
            return Ok(vec![Finding::failed(ROW, "push of an image archive", &why)]);
        }
    }
    let archives = archives(bench.quick)?;
    let peer_name = version("skopeo").unwrap_or_default();
    let (mut gzip, mut plain) = (Pairs::default(), Pairs::default());
    let (mut zstd, mut none) = (Paired::default(), Paired::default());
    let (mut peak, mut written) = (0.0_f64, 0.0_f64);
    let (mut peer_peak, mut peer_written, mut unzipped) = (0.0_f64, 0.0_f64, Samples::default());
    let mut peer_reads_gzip = true;
    for _ in 0..if bench.quick { 1 } else { 3 } {
        let zipped_ours = twice(|to, folder| ours(&program(), &archives.gzip, to, "a/b:1", folder))?;
        let plain_ours = twice(|to, folder| ours(&program(), &archives.plain, to, "a/b:1", folder))?;
        let other = |compression| {
            let (registry, folder) = (Registry::start()?, scratch()?);
            watch(ours_with(compression, &program(), &archives.plain, &registry, "a/b:1", folder.path()), None)
        };
        let (zstd_ours, none_ours) = (other("zstd")?, other("none")?);
        let plain_peer = twice(|to, folder| skopeo(&archives.plain, to, "a/b:1", folder))?;
        zstd.block(&Samples::from_iter([zstd_ours.ms]), plain_peer.0.ms);
        none.block(&Samples::from_iter([none_ours.ms]), plain_peer.0.ms);
        let gunzip_ms = watch(gunzip(&archives.gzip), None)?.ms;
        unzipped.push(gunzip_ms);
        let direct =
            if peer_reads_gzip { twice(|to, folder| skopeo(&archives.gzip, to, "a/b:1", folder)).ok() } else { None };
        let zipped_peer = match direct {
            Some((new, again)) => {
                peer_peak = peer_peak.max(new.peak_mib);
                peer_written = peer_written.max(new.written_mib);
                (new.ms, again.ms)
            }
            None => {
                peer_reads_gzip = false;
                (plain_peer.0.ms + gunzip_ms, plain_peer.1.ms + gunzip_ms)
            }
        };
        gzip.block(zipped_ours, zipped_peer);
        plain.block(plain_ours, (plain_peer.0.ms, plain_peer.1.ms));
        for took in [zipped_ours.0, zipped_ours.1, plain_ours.0, plain_ours.1, zstd_ours, none_ours] {
            peak = peak.max(took.peak_mib);
            written = written.max(took.written_mib);
        }
        peer_peak = peer_peak.max(plain_peer.0.peak_mib);
        peer_written = peer_written.max(plain_peer.0.written_mib);
    }
    let size = std::fs::metadata(&archives.plain)?.len() / MIB;
    let zipped_size = std::fs::metadata(&archives.gzip)?.len() / MIB;
    drop(archives.folder);
    let how = if peer_reads_gzip {
        format!("{peer_name} reads the gzipped archive itself; `gunzip` alone takes {:.0} ms.", unzipped.p50())
    } else {
        format!(
            "{peer_name} fails on this gzipped archive: its figure is that of the plain one and {:.0} ms of `gunzip`.",
            unzipped.p50()
        )
    };
    let memory = format!(
        "At most {peak:.0} MiB of memory in all these pushes and {written:.2} MiB written to disk (the cache of layers); \
         skopeo {peer_peak:.0} MiB and {peer_written:.0} MiB."
    );
    let row = |work: String, paired: &Paired| Finding::new(ROW, work, Unit::Ms).paired("skopeo", paired);
    Ok(vec![
        row(format!("push of a new image, {size} MiB gzipped to {zipped_size}"), &gzip.new)
            .target("at most 0.4 x skopeo, 64 MiB, no temporary disk")
            .at_most("ratio", Unit::Times, gzip.new.ratio(), 0.4)
            .at_most("memory", Unit::Mib, peak, MAX_MIB)
            .at_most("written to disk", Unit::Mib, written, MAX_WRITTEN_MIB)
            .add(&how)
            .add(&memory),
        row(format!("push of a new image, {size} MiB, not compressed"), &plain.new)
            .target("at most 0.5 x skopeo")
            .at_most("ratio", Unit::Times, plain.new.ratio(), 0.5),
        row("the same with `--compression zstd`".to_owned(), &zstd)
            .target("at most 0.25 x skopeo, which compresses with gzip")
            .at_most("ratio", Unit::Times, zstd.ratio(), 0.25)
            .add("The data has the same megabyte again and again, which zstd finds and gzip cannot."),
        row("the same with `--compression none`".to_owned(), &none)
            .target("at most 0.15 x skopeo, which compresses with gzip")
            .at_most("ratio", Unit::Times, none.ratio(), 0.15),
        row("the same gzipped archive again".to_owned(), &gzip.again)
            .target("at most 0.6 x skopeo's repeat")
            .at_most("ratio", Unit::Times, gzip.again.ratio(), 0.6)
            .add("No layer is sent; the archive is read and checked."),
        row("the same file again, not compressed".to_owned(), &plain.again)
            .target("at most 200 ms")
            .at_most("p50", Unit::Ms, plain.again.ours.p50(), 200.0)
            .add("No layer is sent, and none is read: the file is looked through for what the registry has."),
    ])
}

/// Pushes through a pipe an image that is generated on the fly: ten times the size, the same memory.
pub(super) fn pipe(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    if version("docker-registry").is_none() {
        let why = "docker-registry is not installed (Debian's package of the same name)";
        return Ok(vec![Finding::failed(PIPE, "push of a 10 GB archive through a pipe", why)]);
    }
    let push = |layers: Vec<u64>| -> anyhow::Result<Took> {
        let (registry, folder) = (Registry::start()?, scratch()?);
        let command = ours(&program(), "-", &registry, "a/b:1", folder.path());
        let salt = u64::from(std::process::id());
        let feed = move |mut out: &mut dyn Write| {
            let mut out = BufWriter::with_capacity(1 << 20, &mut out);
            archive::write(&mut out, &layers, salt)?;
            out.flush()
        };
        watch(command, Some(Box::new(feed)))
    };
    let unit = if bench.quick { GIB / 8 } else { GIB };
    // The same shape: the number of layers matters more than their sizes.
    let layers = [4 * unit, unit, 3 * unit, unit / 2, unit + unit / 2];
    let small = push(layers.map(|size| size / 10).to_vec())?;
    let large = push(layers.to_vec())?;
    let finding = Finding::new(PIPE, format!("push of {} GiB through a pipe, peak memory", 10 * unit / GIB), Unit::Mib)
        .target("memory as for 1 GB, at most 64 MiB")
        .figure(large.peak_mib)
        .at_most("memory", Unit::Mib, large.peak_mib, MAX_MIB)
        .at_most("more than for a tenth", Unit::Mib, large.peak_mib - small.peak_mib, 8.0)
        .at_most("written to disk", Unit::Mib, large.written_mib, MAX_WRITTEN_MIB)
        .add(&format!(
            "{:.1} s; a tenth of it took {:.1} s and {:.0} MiB. {:.2} MiB were written to disk.",
            large.ms / 1e3,
            small.ms / 1e3,
            small.peak_mib,
            large.written_mib
        ));
    Ok(vec![finding])
}
