//! Names of tables and columns in collections, anchors and JSON pointers.

use crate::catalog::TableId;

/// Returns the JSON pointer of a column's property.
pub fn column_pointer(column: &str) -> String {
    format!("/{}", column.replace('~', "~0").replace('/', "~1"))
}

/// Returns the column that a JSON pointer to a property stands for. A pointer to a deeper location is
/// read as a column name with slashes.
pub fn pointer_column(pointer: &str) -> String {
    pointer
        .strip_prefix('/')
        .unwrap_or(pointer)
        .replace("~1", "/")
        .replace("~0", "~")
}

/// Returns the recommended name of a table's collection.
pub fn recommended_name(table: &TableId) -> String {
    format!("{}/{}", component(&table.schema), component(&table.name))
}

/// Returns one part of a collection name: in lower case, with an underscore for each character that is
/// not allowed.
fn component(name: &str) -> String {
    if name == "." || name == ".." {
        return "_".repeat(name.len());
    }
    name.chars()
        .filter_map(|character| character.to_lowercase().next())
        .map(|character| if is_plain(character) { character } else { '_' })
        .collect()
}

/// Returns the anchor of a table's row schema: schema and table, the first letter of each word in
/// upper case. Characters that JSON Schema does not allow in an anchor stay, since existing
/// collections contain such anchors and Flow resolves them.
pub(super) fn anchor(table: &TableId) -> String {
    title(&table.schema).chain(title(&table.name)).collect()
}

/// Returns whether a character is allowed in names of collections.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

fn title(name: &str) -> impl Iterator<Item = char> {
    let mut within = false;
    name.chars().map(move |character| {
        let starts = !within && !ends_word(character);
        within = !ends_word(character);
        let mut upper = character.to_uppercase();
        match (starts, upper.next(), upper.next()) {
            (true, Some(upper), None) => upper,
            _ => character,
        }
    })
}

fn ends_word(character: char) -> bool {
    if character.is_ascii() {
        !character.is_ascii_alphanumeric() && character != '_'
    } else {
        character.is_whitespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_pointers_and_columns_are_inverse() {
        for (column, pointer) in [
            ("id", "/id"),
            ("Key/1~", "/Key~11~0"),
            ("~1", "/~01"),
            ("", "/"),
            ("/", "/~1"),
            ("Col \"q\"", "/Col \"q\""),
        ] {
            assert_eq!(column_pointer(column), pointer);
            assert_eq!(pointer_column(pointer), column);
        }
        assert_eq!(pointer_column("id"), "id");
        assert_eq!(pointer_column("/a/b"), "a/b");
    }

    #[test]
    fn recommended_names_have_only_allowed_characters() {
        for (schema, table, name) in [
            ("shop", "orders", "shop/orders"),
            ("Odd Schema", "Tab/le~ %", "odd_schema/tab_le___"),
            ("for$bidden", "char%s", "for_bidden/char_s"),
            ("path-like", "/../this", "path-like/_.._this"),
            ("..", "table", "__/table"),
            (".", "v1.2", "_/v1.2"),
            ("Café", "ÉTÉ", "caf_/_t_"),
        ] {
            assert_eq!(recommended_name(&TableId::new(schema, table)), name);
        }
    }

    #[test]
    fn anchors_are_in_title_case() {
        for (schema, table, expected) in [
            ("shop", "order_line", "ShopOrder_line"),
            ("crm", "USERS", "CrmUSERS"),
            ("a-b", "c.d", "A-BC.D"),
            ("a-b", "c d", "A-BC D"),
            ("Odd Schema", "Tab/le~ %", "Odd SchemaTab/Le~ %"),
            ("s1", "2nd", "S12nd"),
            ("_private", "t", "_privateT"),
            ("été", "naïve", "ÉtéNaïve"),
        ] {
            assert_eq!(anchor(&TableId::new(schema, table)), expected);
        }
    }
}
