//! The steps that bring a database's schema up to date, in order.
//!
//! A database remembers the version, description and checksum of every step that it has taken and refuses a step that
//! has changed since. So a file in `migrations/` never changes once it is released; a new step is a new file and a line
//! here. The list is written by hand because sqlx's `migrate!` would build sqlx and SQLite a second time for the
//! compiler's own use.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The name of a file is its version, `_`, its description with `_` for spaces, and `.sql`.
macro_rules! step {
    ($version:literal, $description:literal, $file:literal) => {
        step($version, $description, include_str!(concat!("../migrations/", $file)))
    };
}

pub(crate) fn migrator() -> Migrator {
    Migrator::with_migrations(vec![
        step!(1, "organizations keys sessions", "0001_organizations_keys_sessions.sql"),
        step!(2, "tools", "0002_tools.sql"),
        step!(3, "gateway", "0003_gateway.sql"),
        step!(4, "session grants", "0004_session_grants.sql"),
        step!(5, "agents", "0005_agents.sql"),
        step!(6, "agent logs", "0006_agent_logs.sql"),
        step!(7, "tool made", "0007_tool_made.sql"),
        step!(8, "tool folders", "0008_tool_folders.sql"),
        step!(9, "carriages", "0009_carriages.sql"),
        step!(10, "observed", "0010_observed.sql"),
        step!(11, "model settings", "0011_model_settings.sql"),
        step!(12, "model usage", "0012_model_usage.sql"),
        step!(13, "run tokens", "0013_run_tokens.sql"),
        step!(14, "work", "0014_work.sql"),
        step!(15, "agents", "0015_agents.sql"),
        step!(16, "connectors", "0016_connectors.sql"),
        step!(17, "identity", "0017_identity.sql"),
    ])
}

fn step(version: i64, description: &'static str, sql: &'static str) -> Migration {
    let without_transaction = false;
    Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), without_transaction)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Everything of a step that a database remembers or that decides how the step is taken.
    fn facts(migrator: &Migrator) -> Vec<(i64, String, MigrationType, bool, String)> {
        let fact =
            |m: &Migration| (m.version, m.description.to_string(), m.migration_type, m.no_tx, hex::encode(&m.checksum));
        migrator.iter().map(fact).collect()
    }

    /// As `sqlx::migrate!` made them, for databases that exist: a line here never changes.
    #[test]
    fn released_steps_stay_as_they_were() {
        let released = [
            (
                1,
                "organizations keys sessions",
                "043d26d492be6c7aa909cf54639531a80fffec659d8a197057fcccadf2258cd1d529e41dcbca5abd3fa7acc0abb643dc",
            ),
            (
                2,
                "tools",
                "6b5637ea5dd2b168995f322ba48f470f8e9133ab3a63ea68a1c50655132fac184a02bde23e198b4c0a489684c57203ba",
            ),
            (
                3,
                "gateway",
                "65f9e56687ca5ea7409ac183e072d15d3e6398b27fca1ca4821f34ee2b7a92105f174f8f9dad45c5b12659c8fe9b429f",
            ),
            (
                4,
                "session grants",
                "c92138c75838425780159b680b1f276c193560fb5f9d64f2ddd63ce7ba0c4598bdef07241bf704883f5fa25e61bfd951",
            ),
            (
                5,
                "agents",
                "24877f84e4674c41f643e03846c853e81f0ff72a2f154fd80b036ccc3e1199f18aaf5d5ece348294281c0a9faa3487b6",
            ),
            (
                6,
                "agent logs",
                "9e4b8d5e113c4ef93bf5e18de1da001d80e5f41884f10064b6ebcbcb775969065276efdf76d89ac7a854504a5b415748",
            ),
            (
                7,
                "tool made",
                "b85bd011ecbfc8834e877887f97be695ea7062a5c99708fc00fb5844f434c767c89dcec9967ca6ece67a41071f6056cf",
            ),
            (
                8,
                "tool folders",
                "dfb60d4477a529704e5910fa26af446ed06301835991a90bda6716728a410300451396fa8b8fa3ddd440793d0bd9699b",
            ),
            (
                9,
                "carriages",
                "ed54a15ebcd5f5230f859255d944debac74f208e917f47544820ac192bfec525e338c8cd08830d79873745ea55542220",
            ),
            (
                10,
                "observed",
                "4efdb88733966969014e721298446e8ed8782bc3c957a90c8b4c6fe89d719560999568e03f17d7f0c7e92ddded2e3495",
            ),
            (
                11,
                "model settings",
                "8c92220c5c4f6a4e77a8a53c6716e8b7b3458c5c429c870549014ad116b6758330429a355d14c659f8c751b9b232ea44",
            ),
            (
                12,
                "model usage",
                "bcf07ca9952aa0d143f1204f5c80eb714d086f2e2449d66d6c0f68d1129e87456bb7e60c18d994b814c04fc47abf6fc6",
            ),
            (
                13,
                "run tokens",
                "fd79fcd042190845eba80b84d9fc972f784a57c9802e993dbb0c5c157fa3174af000989a1294ec939c661522096fc1ef",
            ),
            (
                14,
                "work",
                "2cede90698292ef8e69392149c44ef9c04ca2bdf5696ef07bdc554d02fa48a2d665f753b56aed2b527d0974a213c460b",
            ),
            (
                15,
                "agents",
                "e99e8f61d2ccc99af963e99372438a1719890bc7559be70c31e629d4e9d934b88403de4526d328f64915381248dbf5db",
            ),
            (
                16,
                "connectors",
                "2afb369a47d031cdb542389a4e6e5be52097e0550afbcd85a6a6e5573ad517a55f04086d7803253c1a7c43aa3169c3bb",
            ),
            (
                17,
                "identity",
                "8cad28f9a5bd7cfdb5080dfcbf6787685df655b389ba25b627f5ca99015c2651ecfcbbab8018a747b2316f43816603f2",
            ),
        ];
        let steps = facts(&migrator());
        assert_eq!(steps.len(), released.len(), "a new step is pinned when it is released");
        for (step, (version, description, checksum)) in steps.into_iter().zip(released) {
            assert_eq!(step, (version, description.to_owned(), MigrationType::Simple, false, checksum.to_owned()));
        }
    }

    #[tokio::test]
    async fn every_file_is_in_the_list() {
        // Reads the folder exactly as `sqlx::migrate!` does.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let files = Migrator::new(folder.as_path()).await.unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), files.iter().count());
        assert_eq!(facts(&migrator()), facts(&files));
    }
}
