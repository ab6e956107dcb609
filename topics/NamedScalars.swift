// The reused list behind `user` and `context`.

import Bytes
import JSON

/// Reads an object of scalars into a list in byte order of the names.
struct NamedScalars: ~Copyable {
    private var list = ReusedList<NamedScalar>(capacity: Limit.scalars)
    mutating func read(_ object: JSONView, _ field: StaticString)
        throws(ContractError) -> BorrowedList<NamedScalar>
    {
        guard object.isObject else { throw object.wrongType(Place(field), "an object of scalars") }
        list.removeAll()
        for (name, value) in object.members {
            if value.isNull { continue }
            guard name.count >= 1 && name.count <= Limit.idBytes else {
                throw ContractError(
                    .out_of_range, path: "/\(field)",
                    "/\(field) holds a name of \(name.count) bytes; names have 1 to \(Limit.idBytes)."
                )
            }
            let scalar = try value.scalar(Place(field, name: name), limit: Limit.scalarBytes)
            guard list.count < Limit.scalars else {
                throw ContractError(
                    .too_many_values, path: "/\(field)",
                    "/\(field) holds \(object.count) values; \(Limit.scalars) are allowed.")
            }
            list.append(NamedScalar(name: name, value: scalar))
            list.settle(list.count - 1, by: \.name)
        }
        return list.list
    }
}
