//! Variables of an organization's agents, on every database.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, Scope, Scopes, Vault};
use cofferdam_environments::{Error, Variables};
use cofferdam_store::Store;
use cofferdam_testkit::database::On;

#[tokio::test]
async fn variables_are_kept_by_name() {
    for on in On::all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&on.database(&folder).await).await.unwrap();
        let vault = Arc::new(Vault::open(None, folder.path()).unwrap());
        let variables = Variables::new(store.clone(), vault);
        let organization = OrganizationId::default_organization();
        let caller = Caller::new("key_a", organization.clone(), Scopes::new(vec![Scope::Deploy]));
        let sync = async |list: &[(&str, Option<&str>)]| -> Result<Vec<String>, Error> {
            let changes: BTreeMap<String, Option<String>> =
                list.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
            variables.sync(&caller, &changes).await
        };
        assert_eq!(sync(&[("B", Some("007")), ("A", Some(""))]).await.unwrap(), ["A", "B"]);
        assert_eq!(sync(&[("A", None), ("NONE", None)]).await.unwrap(), ["B"]);
        assert!(sync(&[("C", Some("x")), ("1", Some("x"))]).await.is_err());
        let stored = store.variables(&organization).await.unwrap();
        assert!(stored.len() == 1 && !stored[0].sealed.contains("007"));
        assert_eq!(variables.open(&organization).await.unwrap()["B"].expose(), "007");
        for chunk in (0..600).collect::<Vec<_>>().chunks(300) {
            let many: Vec<String> = chunk.iter().map(|n| format!("V{n}")).collect();
            let many: Vec<(&str, Option<&str>)> = many.iter().map(|name| (name.as_str(), Some("x"))).collect();
            let done = sync(&many).await;
            assert_eq!(done.is_ok(), chunk[0] == 0, "{done:?}");
        }
        assert_eq!(store.variables(&organization).await.unwrap().len(), 301, "all or nothing");
        store.close().await;
    }
}
