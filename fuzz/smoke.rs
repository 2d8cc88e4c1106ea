//! Parts of the smoke tests that run the fuzz targets over mutated seeds: random numbers, the inputs that the fuzzer has
//! found, and the seeds as files for it.

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Writes the seeds for the fuzzer, one folder a target, where `COFFERDAM_FUZZ_SEEDS` names one.
pub(crate) fn write_seeds(name: &str, seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("COFFERDAM_FUZZ_SEEDS") else { return };
    let folder = std::path::Path::new(&folder).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
    }
}

/// The inputs of `fuzz/kept/NAME`: some of those with which the fuzzer reached new code.
pub(crate) fn kept(name: &str) -> Vec<Vec<u8>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.ancestors().map(|folder| folder.join("fuzz/kept").join(name)).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| panic!("fuzz/kept/{name} is missing"));
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "fuzz/kept/{name} is empty");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}
