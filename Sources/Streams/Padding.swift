// Rows are compared, hashed and written as bytes; bytes that belong to no field would be chance.

/// How many bytes of `Value` belong to none of its stored fields.
///
/// Found by reflection over a zeroed value, once a table. Types that reflection cannot look into
/// count as full.
func paddingBytes<Value: BitwiseCopyable>(_ type: Value.Type) -> Int {
    let zero = UnsafeMutableRawPointer.allocate(
        byteCount: max(1, MemoryLayout<Value>.stride), alignment: MemoryLayout<Value>.alignment)
    defer { zero.deallocate() }
    zero.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<Value>.stride)
    return MemoryLayout<Value>.stride - fieldBytes(zero.load(as: Value.self))
}

private func fieldBytes<Value>(_ value: Value) -> Int {
    if value is any Numeric || value is Bool || value is any SIMD {
        return MemoryLayout<Value>.size
    }
    let mirror = Mirror(reflecting: value)
    guard mirror.displayStyle == .struct || mirror.displayStyle == .tuple, !mirror.children.isEmpty
    else { return MemoryLayout<Value>.size }
    return mirror.children.reduce(0) { sum, child in
        func bytes<Child>(of child: Child) -> Int { fieldBytes(child) }
        return sum + _openExistential(child.value, do: bytes)
    }
}
