//! A strict reader of the XML that [`Svg`](super::Svg) writes, for tests: no comments, no CDATA, no declarations.

/// What a document holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// The name of an element that begins.
    Element(String),
    /// Name and unescaped value.
    Attribute(String, String),
    /// Unescaped text that is not just white space.
    Text(String),
}

/// The nodes of a well-formed document with one root.
pub(crate) fn parse(mut rest: &str) -> Result<Vec<Node>, String> {
    let (mut nodes, mut open) = (Vec::new(), Vec::<&str>::new());
    while !rest.trim().is_empty() {
        let (text, tag) = rest.split_once('<').ok_or_else(|| format!("text after the root: {rest:?}"))?;
        let text = unescape(text)?;
        if !text.trim().is_empty() {
            if open.is_empty() {
                return Err(format!("text outside the root: {text:?}"));
            }
            nodes.push(Node::Text(text));
        }
        let end = tag.find('>').ok_or("a tag without end")?;
        let inside = &tag[..end];
        rest = &tag[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes something else"));
            }
            continue;
        }
        if open.is_empty() && !nodes.is_empty() {
            return Err("two roots".into());
        }
        let (inside, empty) = inside.strip_suffix('/').map_or((inside, false), |inside| (inside, true));
        let (name, mut attributes) = inside.split_once(' ').unwrap_or((inside, ""));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("a bad name: {name:?}"));
        }
        nodes.push(Node::Element(name.into()));
        let mut seen = Vec::new();
        while !attributes.is_empty() {
            let (name, after) = attributes.split_once("=\"").ok_or_else(|| format!("not quoted: {attributes:?}"))?;
            let (value, after) = after.split_once('"').ok_or_else(|| format!("not closed: {attributes:?}"))?;
            if seen.contains(&name) || value.contains('<') {
                return Err(format!("attribute {name:?} twice or with a tag in it"));
            }
            seen.push(name);
            nodes.push(Node::Attribute(name.into(), unescape(value)?));
            attributes = after.strip_prefix(' ').unwrap_or(after);
        }
        if !empty {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(nodes) } else { Err(format!("never closed: {open:?}")) }
}

/// Panics where an attribute other than a picture holds a number that is not finite.
pub(crate) fn assert_finite(nodes: &[Node]) {
    for node in nodes {
        if let Node::Attribute(name, value) = node {
            let odd = name != "href" && (value.contains("NaN") || value.contains("inf"));
            assert!(!odd, "{name}={value:?}");
        }
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    if let Some(odd) = text.chars().find(|character| !allowed(*character)) {
        return Err(format!("{odd:?} is not allowed in XML"));
    }
    let mut pieces = text.split('&');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, after) = piece.split_once(';').ok_or_else(|| format!("a bare & before {piece:?}"))?;
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => return Err(format!("an unknown entity {other:?}")),
        });
        plain.push_str(after);
    }
    Ok(plain)
}

#[test]
fn what_is_not_well_formed_is_refused() {
    for bad in
        ["<a>", "<a></b>", "<a/><b/>", "<a b=c/>", "<a b=\"1\" b=\"2\"/>", "<a>&</a>", "<a>\u{b}</a>", "x<a/>", "<a/>x"]
    {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert_eq!(parse("<a b=\"&lt;\">c</a>\n").unwrap().len(), 3);
}
