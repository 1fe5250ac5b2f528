//! Writes ONNX files of a few nodes: as much of protobuf and of `onnx.proto` (numbers of its fields) as they need.

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// A node with integer attributes: single ones, and lists.
fn node(op: &str, inputs: &[&str], output: &str, ints: &[(&str, u64)], lists: &[(&str, &[u64])]) -> Message {
    let mut node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
    node = node.text(2, output).text(3, output).text(4, op);
    for (name, value) in ints {
        node = node.message(5, Message::default().text(1, name).int(3, *value).int(20, 2));
    }
    for (name, values) in lists {
        let list = values.iter().fold(Message::default().text(1, name), |list, value| list.int(8, *value));
        node = node.message(5, list.int(20, 7));
    }
    node
}

/// A named value of 32-bit floats; `None` is an axis of any length.
fn value(name: &str, shape: &[Option<u64>]) -> Message {
    let dims = shape.iter().fold(Message::default(), |dims, extent| {
        dims.message(
            1,
            match extent {
                Some(extent) => Message::default().int(1, *extent),
                None => Message::default().text(2, "n"),
            },
        )
    });
    let tensor = Message::default().int(1, 1).message(2, dims);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}

/// A network of one input of the given shape: the mean over the last axis, and twice that, side by side. `op` takes the
/// mean.
pub fn mean(shape: &[Option<u64>], op: &str) -> Vec<u8> {
    let last = shape.len() as u64 - 1;
    let two = Message::default().int(1, 1).int(2, 1).text(8, "two").bytes(9, &2.0_f32.to_le_bytes());
    let graph = Message::default()
        .message(1, node(op, &["samples"], "mean", &[("keepdims", 1)], &[("axes", &[last])]))
        .message(1, node("Mul", &["mean", "two"], "twice", &[], &[]))
        .message(1, node("Concat", &["mean", "twice"], "scores", &[("axis", last)], &[]))
        .text(2, "mean")
        .message(5, two)
        .message(11, value("samples", shape))
        .message(12, value("scores", &[Some(1), Some(2)]));
    model(graph)
}

/// A network of two inputs: their sum.
pub fn sum_of_two() -> Vec<u8> {
    let graph = Message::default()
        .message(1, node("Add", &["a", "b"], "sum", &[], &[]))
        .text(2, "sum")
        .message(11, value("a", &[Some(1), None]))
        .message(11, value("b", &[Some(1), None]))
        .message(12, value("sum", &[Some(1), None]));
    model(graph)
}

fn model(graph: Message) -> Vec<u8> {
    let operators = Message::default().text(1, "").int(2, 13);
    Message::default().int(1, 8).text(2, "musicrl tests").message(7, graph).message(8, operators).0
}
