//! An OpenAPI document as far as the tests need it: which operations there are, which of them a
//! request means, and whether a value is what a schema says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The methods that an operation can have here.
const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// Keywords that say nothing about which values are right.
const REMARKS: [&str; 4] = ["description", "default", "contentEncoding", "bearerFormat"];

pub(crate) struct Document {
    root: Value,
}

/// A method and a path of the document, and what stands there.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    said: &'a Value,
}

/// What came back: status, type of the content, body.
pub(crate) struct Answered<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a str,
}

impl Document {
    pub(crate) fn read(name: &str) -> Document {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        Document { root: serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() }
    }

    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let mut operations = Vec::new();
        for (path, item) in self.root["paths"].as_object().unwrap() {
            for (method, said) in item.as_object().unwrap() {
                assert!(METHODS.contains(&&**method), "{path}: {method} is no method");
                operations.push(Operation { method, path, said });
            }
        }
        operations
    }

    /// The operation that a request means. A path without variables stands before one with them
    /// (OpenAPI 3.1, "Path Templating Matching").
    pub(crate) fn operation_of(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let mut found = self.operations();
        found.retain(|it| it.method.eq_ignore_ascii_case(method) && matches(it.path, path));
        found.sort_by_key(|it| it.path.matches('{').count());
        found.first().copied()
    }

    /// What a value that refers to another place of the document stands for.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
        let pointer = reference.strip_prefix('#').unwrap();
        self.root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    pub(crate) fn parameters(&self, operation: Operation<'_>) -> Vec<&Value> {
        let said = self.said(operation)["parameters"].as_array();
        said.into_iter().flatten().map(|parameter| self.resolve(parameter)).collect()
    }

    /// The same operation, in this document's own lifetime.
    fn said(&self, operation: Operation<'_>) -> &Value {
        &self.root["paths"][operation.path][operation.method]
    }

    /// The body that an operation takes: whether it must have one, and the forms that it may have.
    pub(crate) fn body(&self, operation: Operation<'_>) -> Option<&Value> {
        self.said(operation).get("requestBody").map(|body| self.resolve(body))
    }

    /// What is wrong with a request that the gateway took.
    pub(crate) fn check_request(
        &self,
        operation: Operation<'_>,
        target: &str,
        body: &str,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameters = self.parameters(operation);
        let known = |place: &str, name: &str| {
            parameters.iter().find(|it| it["in"] == place && it["name"] == name)
        };
        for (part, value) in operation.path.split('/').zip(path.split('/')) {
            if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                let Some(parameter) = known("path", name) else {
                    wrong.push(format!("the variable {name} is no parameter"));
                    continue;
                };
                self.problems(&parameter["schema"], &plain(value), name, &mut wrong);
            }
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap();
            match known("query", name) {
                Some(parameter) => {
                    self.problems(&parameter["schema"], &plain(value), name, &mut wrong);
                }
                None => wrong.push(format!("{name} is no parameter")),
            }
        }
        match self.body(operation) {
            None if !body.is_empty() && body != "{}" => wrong.push("takes no body".to_owned()),
            Some(said) if body.is_empty() && said["required"] == true => {
                wrong.push("a body is required".to_owned());
            }
            Some(said) if !body.is_empty() => {
                let schema = &said["content"]["application/json"]["schema"];
                let body = serde_json::from_str(body).unwrap();
                self.problems(schema, &body, "request", &mut wrong);
            }
            None | Some(_) => {}
        }
        wrong
    }

    /// What the document does not say of an answer.
    pub(crate) fn check_answer(
        &self,
        operation: Operation<'_>,
        answered: &Answered<'_>,
    ) -> Vec<String> {
        let Answered { status, content_type, body } = *answered;
        let Some(said) = self.said(operation)["responses"].get(status.to_string()) else {
            return vec![format!("the status {status} is not named")];
        };
        let said = self.resolve(said);
        let Some(forms) = said["content"].as_object() else {
            return if body.is_empty() { Vec::new() } else { vec!["has a body".to_owned()] };
        };
        let kind = content_type.split(';').next().unwrap_or_default();
        let Some(form) = forms.get(kind) else {
            return vec![format!("the content type `{kind}` is not named")];
        };
        let mut wrong = Vec::new();
        let schema = &form["schema"];
        match kind {
            "application/json" => {
                let value = serde_json::from_str(body).unwrap();
                self.problems(schema, &value, "answer", &mut wrong);
            }
            "application/x-ndjson" => {
                for line in body.lines() {
                    let value = serde_json::from_str(line).unwrap();
                    self.problems(schema, &value, "line", &mut wrong);
                }
            }
            "application/x-protobuf" => assert!(form["x-message"].is_string(), "{form}"),
            _ => self.problems(schema, &Value::from(body), "answer", &mut wrong),
        }
        wrong
    }

    /// Adds what of `value` is against `schema`. Knows the keywords that the documents use and
    /// refuses others, so that none is silently without effect.
    fn problems(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolve(schema);
        let Some(keywords) = schema.as_object() else { panic!("{at}: {schema} is no schema") };
        for (keyword, said) in keywords {
            let holds = match &**keyword {
                "type" => is_of(said, value),
                "enum" => said.as_array().unwrap().contains(value),
                "const" => said == value,
                "minimum" => value.as_f64().is_none_or(|it| it >= said.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|it| it <= said.as_f64().unwrap()),
                "minLength" => value.as_str().is_none_or(|it| it.len() >= size(said)),
                "maxLength" => value.as_str().is_none_or(|it| it.len() <= size(said)),
                "minItems" => value.as_array().is_none_or(|it| it.len() >= size(said)),
                "maxItems" => value.as_array().is_none_or(|it| it.len() <= size(said)),
                "pattern" => value.as_str().is_none_or(|it| fits(said.as_str().unwrap(), it)),
                "anyOf" => self.right_of(said, value) >= 1,
                "oneOf" => self.right_of(said, value) == 1,
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.problems(said, item, &format!("{at}[{place}]"), wrong);
                    }
                    true
                }
                "properties" => {
                    for (name, item) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = said.get(name) {
                            self.problems(schema, item, &format!("{at}.{name}"), wrong);
                        }
                    }
                    true
                }
                "required" => {
                    let mut names = said.as_array().unwrap().iter().map(|it| it.as_str().unwrap());
                    value.as_object().is_none_or(|it| names.all(|name| it.contains_key(name)))
                }
                "additionalProperties" => {
                    assert_eq!(*said, false, "{at}");
                    let known = &keywords["properties"];
                    let mut names = value.as_object().into_iter().flatten().map(|(name, _)| name);
                    names.all(|name| known.get(name).is_some())
                }
                remark => {
                    assert!(REMARKS.contains(&remark), "{at}: the keyword {remark} is not checked");
                    true
                }
            };
            if !holds {
                wrong.push(format!("{at} is {value}, against {keyword}: {said}"));
            }
        }
    }

    /// How many of the schemas a value is right by.
    fn right_of(&self, schemas: &Value, value: &Value) -> usize {
        let is_right = |schema: &&Value| {
            let mut wrong = Vec::new();
            self.problems(schema, value, "", &mut wrong);
            wrong.is_empty()
        };
        schemas.as_array().unwrap().iter().filter(is_right).count()
    }
}

impl Operation<'_> {
    pub(crate) fn name(&self) -> &str {
        self.said["operationId"].as_str().unwrap()
    }

    /// The statuses that the document names.
    pub(crate) fn statuses(&self) -> BTreeSet<u16> {
        self.said["responses"].as_object().unwrap().keys().map(|it| it.parse().unwrap()).collect()
    }

    /// Whether it asks for no token.
    pub(crate) fn is_open(&self) -> bool {
        self.said["security"].as_array().is_some_and(Vec::is_empty)
    }
}

/// Whether a path is one of a template's.
fn matches(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template.zip(path).all(|(part, word)| part.starts_with('{') || part == word)
}

/// A value of a path or a query: a number if it can be one.
fn plain(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

fn is_of(types: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        // The name of a token may be all digits.
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known"),
    };
    match types {
        Value::String(name) => is(name),
        names => names.as_array().unwrap().iter().any(|name| is(name.as_str().unwrap())),
    }
}

fn size(said: &Value) -> usize {
    usize::try_from(said.as_u64().unwrap()).unwrap()
}

/// The patterns that the documents use.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[1-9][0-9]*$" => {
            !text.starts_with('0') && !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
        }
        "^[!-~]+$" => !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic()),
        other => panic!("the pattern {other} is not checked"),
    }
}

/// The routes of a folder's sources: methods and paths as they stand behind `.route(`.
pub(crate) fn routes(folder: &str) -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "rs") || path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for other in [".nest(", ".route_service(", ".nest_service("] {
            assert!(!text.contains(other), "{}: {other} hides routes", path.display());
        }
        for piece in text.split(".route(").skip(1) {
            let (path, handlers) = piece.split_once('"').unwrap().1.split_once('"').unwrap();
            let handlers = inside(handlers);
            for method in METHODS {
                let is_named = handlers
                    .match_indices(&format!("{method}("))
                    .any(|(at, _)| handlers[..at].ends_with([' ', '.', '\n', ',']));
                if is_named {
                    routes.insert((method.to_owned(), path.to_owned()));
                }
            }
        }
    }
    routes
}

/// What stands before the parenthesis that closes more than was opened.
fn inside(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 0 => return &text[..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    text
}
