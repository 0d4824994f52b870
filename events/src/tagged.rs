//! Enums as objects in which the field `type` names the variant, read in one pass.
//!
//! What serde derives to read `#[serde(tag = "type")]` copies the whole object first, for the field may
//! come last. Where it comes first, as we write it, the rest can be read as what it is.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, IntoDeserializer as _, MapAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// The field that names the variant.
const TAG: &str = "type";

/// Defines an enum that is written with `#[serde(tag = "type", rename_all = "snake_case")]` and read here. Its
/// name is needed a second time, as text.
macro_rules! tagged {
    ($(#[$attribute:meta])* pub enum $name:ident($text:literal) $variants:tt) => {
        $(#[$attribute])*
        #[derive(serde::Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum $name $variants

        const _: () = {
            /// serde reads the one as if it were the other.
            #[derive(serde::Deserialize)]
            #[serde(remote = $text, rename_all = "snake_case")]
            #[allow(dead_code)]
            enum AsRead $variants

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
                    AsRead::deserialize($crate::tagged::Tagged(object))
                }
            }
        };
    };
}
pub(crate) use tagged;

/// Gives an object out as an enum.
pub(crate) struct Tagged<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Tagged<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Object(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Hands an object to whoever visits an enum.
struct Object<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the field `{TAG}`")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<V::Value, M::Error> {
        let first = fields.next_key::<Cow<'de, str>>()?;
        if first.as_deref() == Some(TAG) {
            let variant = fields.next_value()?;
            return self.0.visit_enum(Variant { variant, fields });
        }
        let mut all = Map::new();
        if let Some(first) = first {
            all.insert(first.into_owned(), fields.next_value()?);
        }
        while let Some((name, value)) = fields.next_entry()? {
            all.insert(name, value);
        }
        let variant = match all.remove(TAG) {
            Some(Value::String(variant)) => Cow::Owned(variant),
            Some(_) => return Err(Error::invalid_type(Unexpected::Other(TAG), &"a string")),
            None => return Err(Error::missing_field(TAG)),
        };
        let fields = MapDeserializer::<_, serde_json::Error>::new(all.into_iter());
        let read = self.0.visit_enum(Variant { variant, fields });
        read.map_err(Error::custom)
    }
}

/// The variant's name, and the fields that follow.
struct Variant<'de, M> {
    variant: Cow<'de, str>,
    fields: M,
}

impl<'de, M: MapAccess<'de>> EnumAccess<'de> for Variant<'de, M> {
    type Error = M::Error;
    type Variant = Fields<M>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Fields<M>), M::Error> {
        let name: StrDeserializer<'_, M::Error> = self.variant.as_ref().into_deserializer();
        Ok((seed.deserialize(name)?, Fields(self.fields)))
    }
}

struct Fields<M>(M);

impl<'de, M: MapAccess<'de>> VariantAccess<'de> for Fields<M> {
    type Error = M::Error;

    fn unit_variant(mut self) -> Result<(), M::Error> {
        while self.0.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, M::Error> {
        seed.deserialize(MapAccessDeserializer::new(self.0))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        visitor.visit_map(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, M::Error> {
        Err(Error::invalid_type(Unexpected::TupleVariant, &visitor))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Inner {
        list: Vec<String>,
        #[serde(default)]
        note: Option<String>,
    }

    tagged! {
        #[derive(Debug, PartialEq)]
        pub enum Sample("Sample") {
            Nothing,
            WholeThing(Box<Inner>),
            Some {
                number: u32,
                #[serde(default, skip_serializing_if = "Option::is_none")]
                inner: Option<Inner>,
            },
        }
    }

    /// The same, as serde reads it.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", remote = "Sample")]
    #[allow(dead_code)]
    enum Derived {
        Nothing,
        WholeThing(Box<Inner>),
        Some {
            number: u32,
            #[serde(default)]
            inner: Option<Inner>,
        },
    }

    #[rstest::rstest]
    #[case(r#"{"type":"nothing"}"#)]
    #[case(r#"{"type":"nothing","more":[1,{"a":2}]}"#)]
    #[case(r#"{"type":"whole_thing","list":["a","\u00e9"],"more":null}"#)]
    #[case(r#"{"list":[],"note":"x","type":"whole_thing"}"#)]
    #[case(r#"{"type":"some","number":3,"inner":{"list":[]}}"#)]
    #[case(r#"{"number":3,"type":"some"}"#)]
    #[case(r#"{"\u0074ype":"some","number":3}"#)]
    #[case(r#"{"type":"some"}"#)]
    #[case(r#"{"type":"some","number":-1}"#)]
    #[case(r#"{"number":"3","type":"some"}"#)]
    #[case(r#"{"type":"other"}"#)]
    #[case(r#"{"type":7}"#)]
    #[case(r#"{"number":3,"type":7}"#)]
    #[case(r#"{"number":3}"#)]
    #[case(r#"{}"#)]
    #[case(r#"[]"#)]
    #[case(r#""nothing""#)]
    #[case(r#"{"type":"nothing""#)]
    fn is_read_as_serde_reads_it(#[case] text: &str) {
        let ours = serde_json::from_str::<Sample>(text);
        let derived = Derived::deserialize(&mut serde_json::Deserializer::from_str(text));
        assert_eq!(ours.as_ref().ok(), derived.ok().as_ref());
        if let Ok(sample) = ours {
            let written: Value = serde_json::to_value(&sample).unwrap();
            assert_eq!(serde_json::from_value::<Sample>(written).unwrap(), sample);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |value: Value| serde_json::from_value::<Sample>(value).unwrap_err();
        let said = error(json!({"type": "other"})).to_string();
        assert!(said.contains("unknown variant `other`"), "{said}");
        let said = error(json!({"number": 1})).to_string();
        assert_eq!(said, "missing field `type`");
        let said = error(json!([])).to_string();
        assert!(said.contains("an object with the field `type`"), "{said}");
    }
}
