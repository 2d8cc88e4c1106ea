//! Values of columns beyond text and integers: ids, enums, JSON, counts and flags.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;
use sqlx::error::BoxDynError;

use crate::Error;

/// Reads the columns of a row that need more than a cast.
pub(crate) trait Columns {
    /// An id.
    fn id<T>(&self, column: &str) -> Result<T, sqlx::Error>
    where
        T: TryFrom<String, Error: Into<BoxDynError>>;

    /// An enum that is stored as its bare name.
    fn name<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error>;

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error>;

    /// A count or a size.
    fn count(&self, column: &str) -> Result<u64, sqlx::Error>;

    /// A boolean that is stored as 0 or 1.
    fn flag(&self, column: &str) -> Result<bool, sqlx::Error>;
}

impl Columns for AnyRow {
    fn id<T>(&self, column: &str) -> Result<T, sqlx::Error>
    where
        T: TryFrom<String, Error: Into<BoxDynError>>,
    {
        T::try_from(self.try_get(column)?).map_err(|error| unknown(column, error))
    }

    fn name<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error> {
        let name = serde_json::Value::String(self.try_get(column)?);
        serde_json::from_value(name).map_err(|error| unknown(column, error))
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, sqlx::Error> {
        let text: String = self.try_get(column)?;
        serde_json::from_str(&text).map_err(|error| unknown(column, error))
    }

    fn count(&self, column: &str) -> Result<u64, sqlx::Error> {
        Ok(unsigned(self.try_get(column)?))
    }

    fn flag(&self, column: &str) -> Result<bool, sqlx::Error> {
        Ok(self.try_get::<i64, _>(column)? != 0)
    }
}

/// The column holds a value that this version does not know.
pub(crate) fn unknown(column: &str, why: impl Into<BoxDynError>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.into() }
}

/// The text of a JSON column.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    Ok(serde_json::to_string(value)?)
}

/// A count or size as the database's integer. None ever comes near the bound.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The database's integer as a count or size.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
