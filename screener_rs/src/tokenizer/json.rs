//! Reading JSON with the path of each value, so that an error names the field.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A JSON value and where it stands.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub path: String,
    pub value: &'a Value,
}

impl<'a> Field<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, value }
    }

    /// A member that is there and not null.
    pub fn optional(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(self.child(key, value))
    }

    pub fn required(&self, key: &str) -> Result<Self> {
        self.optional(key).ok_or_else(|| self.child(key, &Value::Null).wrong("a value"))
    }

    pub fn items(&self) -> Result<Vec<Self>> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("an array"))?;
        Ok(items.iter().enumerate().map(|(i, value)| self.item(i, value)).collect())
    }

    fn item(&self, index: usize, value: &'a Value) -> Self {
        Self { path: format!("{}[{index}]", self.path), value }
    }

    pub fn object(&self) -> Result<&'a Map<String, Value>> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    pub fn string(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    pub fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    pub fn float(&self) -> Result<f64> {
        self.value.as_f64().ok_or_else(|| self.wrong("a number"))
    }

    pub fn id(&self) -> Result<u32> {
        self.value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|&id| i32::try_from(id).is_ok())
            .ok_or_else(|| self.wrong("a token id below 2^31"))
    }

    pub fn size(&self) -> Result<usize> {
        self.value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| self.wrong("a number, 0 or more"))
    }

    /// The member `type`, by which parts of a tokenizer are told apart.
    pub fn kind(&self) -> Result<&'a str> {
        self.required("type")?.string()
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        self.optional(key).map_or(Ok(default), |field| field.boolean())
    }

    /// The value in a few words, for an error message.
    pub fn shown(&self) -> String {
        let text = self.value.to_string();
        if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
    }

    pub fn wrong(&self, wanted: &str) -> Error {
        Error::invalid(self.path.clone(), self.shown(), format!("is not {wanted}"))
    }

    pub fn unsupported(&self, supported: &'static str) -> Error {
        Error::unsupported(self.path.clone(), self.shown(), supported)
    }
}
