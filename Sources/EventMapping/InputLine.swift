// A line of the input, and within it the element that an event is about.

import Bytes
import Contracts
import JSON

/// What locators look into.
struct InputLine {
    /// The fields of the map's columns, of delimited input.
    let columns: [ByteSlice]
    /// The whole line, and the element, of JSON input.
    let root: JSONView?
    let element: JSONView?
    /// The element's place in its list, from 0.
    let place: Int

    init(json root: JSONView) {
        columns = []
        self.root = root
        element = nil
        place = 0
    }

    init(columns: [ByteSlice]) {
        self.columns = columns
        root = nil
        element = nil
        place = 0
    }

    private init(_ line: InputLine, _ element: JSONView, _ place: Int) {
        columns = line.columns
        root = line.root
        self.element = element
        self.place = place
    }

    func inside(_ element: JSONView, _ place: Int) -> InputLine { InputLine(self, element, place) }

    /// The JSON value at a place; nil where there is none.
    func view(_ locator: Locator) -> JSONView? {
        var view = locator.isRelative ? element : root
        for step in locator.steps {
            guard let here = view else { return nil }
            view = here.following(step)
        }
        return view
    }

    /// The list at a place; nil where there is none.
    func list(_ locator: Locator) throws(ContractError) -> JSONView? {
        guard let view = view(locator), !view.isNull else { return nil }
        guard view.isArray else {
            throw ContractError(
                .not_mapped, path: locator.text,
                "\(locator.text) must be a list, not \(view.kind.noun).")
        }
        return view
    }
}

extension JSONView {
    fileprivate func following(_ step: PointerStep) -> JSONView? {
        switch step {
        case .name(let name, let index):
            if isObject {
                return name.lend { name in members.first { $0.name.equals(name) }?.value }
            }
            if isArray, let index, index < count { return self[index] }
            return nil
        case .select(let key, let value):
            for element in elements {
                let isFound = key.lend { key in
                    value.lend { value in
                        element.members.contains {
                            $0.name.equals(key) && $0.value.text?.equals(value) ?? false
                        }
                    }
                }
                if isFound { return element }
            }
            return nil
        }
    }
}
