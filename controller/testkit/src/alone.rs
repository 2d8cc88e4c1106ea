//! Tests that measure memory run in a process of their own.

/// Runs this test again in a process of its own, where no other test's memory is counted. Returns false in that
/// process.
///
/// # Panics
/// The test fails there.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "COFFERDAM_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    let output = program.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    print!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    true
}
