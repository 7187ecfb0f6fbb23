use super::*;

const NAME: &str = "the test configuration";

fn value(json: &str) -> Value {
    parse(json, NAME).unwrap()
}

fn members(value: &Value) -> Result<Members<'_>> {
    Members::of(
        &Node::root(value, Location::configuration(NAME)),
        "an object",
    )
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error is expected").to_string()
}

#[test]
fn each_type_is_read_and_null_counts_as_absent() {
    let json = value(r#"{"s":"x","b":true,"i":-7,"l":["p","q"],"o":{"inner":"y"},"n":null}"#);
    let mut members = members(&json).unwrap();
    assert_eq!(members.member("s").string().unwrap(), Some("x"));
    assert!(members.boolean("b").unwrap());
    assert_eq!(members.integer("i").unwrap(), Some(-7));
    assert_eq!(members.strings("l").unwrap(), ["p", "q"]);
    let mut inner = members.object("o").unwrap().unwrap();
    assert_eq!(inner.string("inner").unwrap(), "y");
    inner.finish().unwrap();
    assert_eq!(members.member("n").string().unwrap(), None);
    assert_eq!(members.member("absent").string().unwrap(), None);
    assert_eq!(members.non_empty_string("absent").unwrap(), None);
    members.finish().unwrap();
}

#[test]
fn an_unknown_member_is_named_with_its_path_and_a_hint() {
    let json = value(r#"{"o":{"slotname":1,"z":null}}"#);
    let mut root = members(&json).unwrap();
    let mut inner = root.object("o").unwrap().unwrap();
    assert_eq!(inner.string("slotName").unwrap(), "");
    assert_eq!(
        message(inner.finish()),
        "unknown member 'o.slotname': did you mean 'o.slotName'?"
    );
    let json = value(r#"{"zzz":1}"#);
    let mut root = members(&json).unwrap();
    root.boolean("a").unwrap();
    root.boolean("b").unwrap();
    assert_eq!(
        message(root.finish()),
        "unknown member 'zzz': known here are a, b"
    );
    let mut root = members(&json).unwrap();
    root.ignore(&["zzz"]);
    root.finish().unwrap();
    // A member that is null has no effect in any spelling.
    members(&value(r#"{"zzz":null}"#))
        .unwrap()
        .finish()
        .unwrap();
}

#[test]
fn errors_name_the_type_and_never_the_value() {
    let json =
        value(r#"{"a":"hunter2","l":["x",5],"i":1.5,"big":99999999999999999999,"o":[],"e":""}"#);
    let mut members = members(&json).unwrap();
    assert_eq!(
        message(members.boolean("a")),
        "'a' must be true or false, found a string"
    );
    assert_eq!(
        message(members.strings("l")),
        "'l' must be an array of strings, found a number at index 1"
    );
    for name in ["i", "big"] {
        assert_eq!(
            message(members.integer(name)),
            format!("'{name}' must be a 64-bit integer, found another number")
        );
    }
    assert_eq!(
        message(members.member("i").counter()),
        "'i' must be a whole number of 32 bits, found a number"
    );
    assert_eq!(
        message(members.object("o")),
        "'o' must be an object, found an array"
    );
    assert_eq!(
        message(members.member("a").items()),
        "'a' must be an array, found a string"
    );
    assert_eq!(
        message(members.member("a").entries()),
        "'a' must be an object, found a string"
    );
    assert_eq!(
        message(members.member("e").required_string("a name")),
        "'e' is empty: it must be a name"
    );
    assert_eq!(
        message(members.member("z").required_string("a name")),
        "'z' is missing: it must be a name"
    );
}

#[test]
fn errors_about_a_file_name_it() {
    let json = value(r#"{"list":[{"a":1}]}"#);
    let node = |json| Node::root(json, Location::file("flow.yaml"));
    let mut root = Members::of(&node(&json), "a catalog").unwrap();
    let item = root.member("list").items().unwrap().remove(0);
    assert_eq!(
        message(item.string()),
        "flow.yaml: 'list[0]' must be a string, found an object"
    );
    let mut inner = Members::of(&item, "an item").unwrap();
    inner.boolean("b").unwrap();
    assert_eq!(
        message(inner.finish()),
        "flow.yaml: unknown member 'list[0].a': known here are b"
    );
    assert_eq!(
        message(Members::of(&node(&value("[]")), "a catalog")),
        "flow.yaml must be a JSON object, found an array"
    );
}

#[test]
fn text_that_is_not_json_is_refused_without_repeating_it() {
    assert_eq!(
        message(members(&value("[]"))),
        "the test configuration must be a JSON object, found an array"
    );
    for text in [
        r#"{"password":"hunter2",}"#,
        r#"{"password":"hunter2"#,
        r#"{"password":hunter2}"#,
        r#"{"password":"hunter2"hunter2}"#,
        r#"{"password":"\hunter2"}"#,
        r#"{"password":"\ud800hunter2"}"#,
        "{\"password\":\"hunter2\n\"}",
        r#"{"a":1}hunter2"#,
        "",
    ] {
        let error = parse(text, NAME).expect_err(text);
        assert_eq!(
            error.to_string(),
            "the test configuration is not valid JSON"
        );
        let causes = error.causes().expect("the position is the cause");
        assert!(causes.contains(" at line "), "{text}: {causes}");
        let all = format!("{error:?}{causes}");
        assert!(
            !all.contains("unter2") && !all.contains("('"),
            "{text}: {all}"
        );
    }
}

#[test]
fn values_are_those_of_serde_json() {
    for text in [
        r#"{"a":1,"b":{"c":[]},"a":2,"\u0061":3}"#,
        r#"["\ud83d\ude00\u0000\"\\\/\b\f\n\r\t", "é€😀"]"#,
        "[9223372036854775807, -9223372036854775808, 18446744073709551615, 0]",
        "[true, false, null, 1.5, -0.25, 99999999999999999999, 1e+400]",
        " {} ",
        &format!("{}{}", "[".repeat(127), "]".repeat(127)),
    ] {
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value(text).to_string(), expected.to_string(), "{text}");
    }
    let members = |count: usize| (0..count).map(|n| format!(r#""k{}":{n}"#, n % 60));
    let object = format!("{{{}}}", members(200).collect::<Vec<_>>().join(","));
    assert_eq!(value(&object)["k0"], 180);
}

#[test]
fn nesting_is_limited() {
    for depth in [128, 100_000] {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let error = parse(&text, NAME).unwrap_err();
        let causes = error.causes().expect("the position is the cause");
        assert!(causes.contains("recursion limit exceeded"), "{causes}");
    }
}
