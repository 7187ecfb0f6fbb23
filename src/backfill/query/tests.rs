use super::*;

fn scan(keys: &[(&str, bool)]) -> TableScan {
    TableScan {
        target: r#"ONLY "shop"."od""d""#.into(),
        key_columns: keys
            .iter()
            .map(|(name, null)| ((*name).to_owned(), *null))
            .collect(),
        comparisons: Vec::new(),
        filter: None,
        min_xid: None,
        chunk_size: 100,
        server_version: 150_000,
    }
}

fn values(texts: &[Option<&str>]) -> Vec<Option<String>> {
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

fn cast(column: &str, parameter: &str) -> Comparison {
    Comparison {
        column: column.to_owned(),
        parameter: parameter.to_owned(),
        operators: Operators::default(),
    }
}

#[test]
fn a_scan_starts_at_the_first_row_or_after_a_key() {
    let scan = scan(&[("a", false), ("B", false)]);
    assert_eq!(
        scan.rows_after(None, 1).sql,
        r#"SELECT * FROM ONLY "shop"."od""d" ORDER BY "a", "B" LIMIT 100"#
    );
    let query = scan.rows_after(Some(&values(&[Some("1"), Some("x")])), 3);
    assert_eq!(
        query.sql,
        r#"SELECT * FROM ONLY "shop"."od""d" WHERE ("a", "B") > ($1, $2) ORDER BY "a", "B" LIMIT 300"#
    );
    assert_eq!(query.parameters, values(&[Some("1"), Some("x")]));
    assert_eq!(
        scan.lock_statement(),
        r#"LOCK TABLE ONLY "shop"."od""d" IN ACCESS SHARE MODE"#
    );
}

#[test]
fn columns_and_parameters_are_cast_where_the_type_has_no_operator() {
    let mut scan = scan(&[("a", false), ("b", false)]);
    scan.comparisons = vec![cast("", "::int4::char"), cast("::mood", "::mood")];
    let key = values(&[Some("-1"), Some("sad")]);
    let query = scan.rows_after(Some(&key), 1);
    let expected = r#"WHERE ("a", "b"::mood) > ($1::int4::char, $2::mood) ORDER BY "a", "b""#;
    assert!(query.sql.contains(expected), "{}", query.sql);
    scan.key_columns[1].1 = true;
    let query = scan.rows_after(Some(&key), 1);
    let expected = r#"("a" = $1::int4::char AND ("b"::mood > $2::mood OR "b" IS NULL))) ORDER"#;
    assert!(query.sql.contains(expected), "{}", query.sql);
}

#[test]
fn columns_are_compared_with_the_operators_of_their_sort_order() {
    let mut scan = scan(&[("a", false)]);
    let operator = |name: &str| format!("OPERATOR(s.{name})");
    let odd = Comparison {
        parameter: "::t".to_owned(),
        operators: Operators {
            equal: operator("="),
            at_least: operator("#>=#"),
            greater: operator("#>#"),
        },
        ..Comparison::default()
    };
    scan.comparisons = vec![odd.clone()];
    let one = scan.rows_after(Some(&values(&[Some("1")])), 1);
    let expected = r#"WHERE ((("a" OPERATOR(s.#>#) $1::t))) ORDER BY "a" LIMIT"#;
    assert!(one.sql.contains(expected), "{}", one.sql);

    scan.key_columns.push(("b".to_owned(), false));
    scan.comparisons.push(Comparison::default());
    let both = scan.rows_after(Some(&values(&[Some("1"), Some("2")])), 1);
    let expected = r#"WHERE "a" OPERATOR(s.#>=#) $1::t AND ((("a" OPERATOR(s.#>#) $1::t)) OR ("a" OPERATOR(s.=) $1::t AND ("b" > $2))) ORDER BY "a", "b" LIMIT"#;
    assert!(both.sql.contains(expected), "{}", both.sql);

    let key = [KeyColumn {
        name: "a",
        comparison: &odd,
        value: Some("1".to_owned()),
    }];
    let expected = r#"WHERE "a" OPERATOR(s.=) $1::t LIMIT 1"#;
    assert!(row_by_key("t", &key).sql.contains(expected));
}

#[test]
fn the_last_key_of_a_range_is_read_without_its_rows() {
    let mut scan = scan(&[("a", false), ("B", false)]);
    scan.filter = Some("x".into());
    let query = scan.last_key(Some(&values(&[Some("1"), Some("2")])), 300);
    assert_eq!(
        query.sql,
        r#"SELECT "a", "B" FROM ONLY "shop"."od""d" WHERE ("a", "B") > ($1, $2) AND (x) ORDER BY "a", "B" OFFSET 299 LIMIT 1"#
    );
}

#[test]
fn null_sorts_after_every_value_of_a_nullable_key_column() {
    let scan = scan(&[("a", true), ("b", false)]);
    let query = scan.rows_after(Some(&values(&[Some("1"), Some("2")])), 1);
    assert!(
        query
            .sql
            .contains(r#"WHERE ((("a" > $1 OR "a" IS NULL)) OR ("a" = $1 AND ("b" > $2))) ORDER"#)
    );
    let query = scan.rows_after(Some(&values(&[None, Some("2")])), 1);
    assert!(
        query
            .sql
            .contains(r#"WHERE (("a" IS NULL AND ("b" > $1))) ORDER"#)
    );
    assert_eq!(query.parameters, values(&[Some("2")]));
}

#[test]
fn the_server_filters_rows_and_leaves_out_old_ones() {
    let mut scan = scan(&[("a", false)]);
    scan.filter = Some("qty > 3 OR x".into());
    assert!(
        scan.rows_after(None, 1)
            .sql
            .contains("WHERE (qty > 3 OR x) ORDER")
    );
    scan.min_xid = Some(700);
    let query = scan.rows_after(None, 1);
    assert_eq!(query.extra_columns, ExtraColumns::Count);
    assert!(query.sql.ends_with("OR \"flow row\" % 100 = 0"));
}

#[test]
fn a_row_is_found_by_its_key() {
    let (none, mood) = (Comparison::default(), cast("::mood", "::mood"));
    let column = |name, comparison, value: Option<&str>| KeyColumn {
        name,
        comparison,
        value: value.map(str::to_owned),
    };
    let key = [
        column("a\"b", &none, Some("1")),
        column("b", &mood, None),
        column("c", &mood, Some("sad")),
    ];
    let query = row_by_key("t", &key);
    assert_eq!(
        query.sql,
        r#"SELECT * FROM t WHERE "a""b" = $1 AND "b" IS NULL AND "c"::mood = $2::mood LIMIT 1"#
    );
    assert_eq!(query.parameters, values(&[Some("1"), Some("sad")]));
}

#[test]
fn windows_are_read_by_tid_range_since_version_14() {
    let window = Window::starting_after(Position::default(), 100, 0);
    let mut scan = scan(&[]);
    assert_eq!(
        scan.rows_in(window).sql,
        r#"SELECT ctid, * FROM ONLY "shop"."od""d" WHERE ctid > $1::tid AND ctid <= $2::tid"#
    );
    scan.server_version = 130_000;
    assert!(scan.rows_in(window).sql.contains("ctid = ANY"));
    assert_eq!(
        scan.rows_in(window).parameters,
        values(&[Some("0"), Some("2"), Some("0")])
    );
    let after = Position {
        block: 7,
        offset: 3,
    };
    let parameters = scan
        .rows_in(Window::starting_after(after, 100, 0))
        .parameters;
    assert_eq!(parameters, values(&[Some("7"), Some("9"), Some("3")]));
}
