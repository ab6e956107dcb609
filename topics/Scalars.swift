// The small values that records are made of: borrowed lists, named scalars, and the closed words.

import Bytes
import JSON

/// A list that belongs to somebody else (a reader, a table), lent as a `ByteSlice` is.
@frozen
public struct BorrowedList<Element: BitwiseCopyable>: RandomAccessCollection, BitwiseCopyable {
    @usableFromInline let base: UnsafePointer<Element>?
    public let count: Int

    /// The empty list.
    @inlinable public init() {
        base = nil
        count = 0
    }

    @inlinable public init(_ base: UnsafePointer<Element>?, count: Int) {
        self.base = base
        self.count = count
    }

    @inlinable public init(_ buffer: UnsafeBufferPointer<Element>) {
        base = buffer.baseAddress
        count = buffer.count
    }

    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { count }
    @inlinable public subscript(_ index: Int) -> Element {
        precondition(index >= 0 && index < count, "element \(index) of \(count)")
        return base.unsafelyUnwrapped[index]
    }
}

extension [ByteSlice] {
    /// Lends the array as a list for the length of `body`.
    public func lendList<Result>(_ body: (BorrowedList<ByteSlice>) throws -> Result) rethrows
        -> Result
    {
        try withUnsafeBufferPointer { try body(BorrowedList($0)) }
    }
}

/// A list with one owner that is filled, lent and emptied again without giving its memory back.
public struct ReusedList<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int
    public internal(set) var count: Int

    public init(capacity: Int = 16) {
        self.capacity = Swift.max(1, capacity)
        base = .allocate(capacity: self.capacity)
        count = 0
    }

    deinit { base.deallocate() }

    /// Everything in it; valid until the next append.
    public var list: BorrowedList<Element> { BorrowedList(base, count: count) }

    /// The elements from `lower` up to, not including, `upper`; valid until the next append.
    public func list(_ lower: Int, _ upper: Int) -> BorrowedList<Element> {
        precondition(
            lower >= 0 && lower <= upper && upper <= count, "\(lower)..<\(upper) of \(count)")
        return BorrowedList(base + lower, count: upper - lower)
    }

    public subscript(_ index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "element \(index) of \(count)")
            return base[index]
        }
        set {
            precondition(index >= 0 && index < count, "element \(index) of \(count)")
            base[index] = newValue
        }
    }

    public mutating func removeAll() { count = 0 }

    public mutating func append(_ element: Element) {
        if count == capacity { grow() }
        base[count] = element
        count += 1
    }

    /// Moves the element at `index` forward to its place among those before it, which are in byte
    /// order of their names: insertion sort, for short lists that mostly are in order.
    mutating func settle(_ index: Int, by name: (Element) -> ByteSlice) {
        let element = self[index]
        var i = index
        while i > 0 && name(element).precedes(name(base[i - 1])) {
            base[i] = base[i - 1]
            i -= 1
        }
        base[i] = element
    }

    @inline(never)
    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
        capacity *= 2
    }
}

/// A value of `user`, `context` or `attributes`.
@frozen
public enum Scalar: BitwiseCopyable {
    case text(ByteSlice)
    case number(Double)
    case boolean(Bool)
}

/// One member of `user` or `context`. Lists of them are in byte order of their names.
@frozen
public struct NamedScalar: BitwiseCopyable {
    public var name: ByteSlice
    public var value: Scalar

    public init(name: ByteSlice, value: Scalar) {
        self.name = name
        self.value = value
    }

    /// Of name and value; a number or a truth counts 8.
    var bytes: Int {
        guard case .text(let text) = value else { return name.count + 8 }
        return name.count + text.count
    }
}

/// One member of a catalog record's `attributes`: a scalar, or a list of scalars.
@frozen
public struct Attribute: BitwiseCopyable {
    public var name: ByteSlice
    /// Whether it was written as a list; a scalar has exactly one value.
    public var isList: Bool
    public var values: BorrowedList<Scalar>

    public init(name: ByteSlice, isList: Bool, values: BorrowedList<Scalar>) {
        self.name = name
        self.isList = isList
        self.values = values
    }
}

/// What is predicted of an impression.
@frozen
public enum Task: UInt8, CaseIterable, Sendable {
    case click, conversion, relevance

    public var word: StaticString {
        switch self {
        case .click: "click"
        case .conversion: "conversion"
        case .relevance: "relevance"
        }
    }

    public init?(_ word: ByteSlice) {
        guard let task = Task.allCases.first(where: { word.equals($0.word) }) else { return nil }
        self = task
    }
}

/// The rule for names of domains: `[a-z0-9][a-z0-9._-]{0,63}`.
public enum DomainName {
    public static func isValid(_ name: ByteSlice) -> Bool {
        guard name.count >= 1 && name.count <= 64 else { return false }
        for i in 0..<name.count {
            switch name[i] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                continue
            case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                if i == 0 { return false }
            default: return false
            }
        }
        return true
    }
}

/// The hash by which a query or a text is named in records: 16 hexadecimal digits on the wire.
public enum TextHash {
    public static func of(_ text: ByteSlice) -> UInt64 { Hash128(text).high }
}

extension ByteBuffer {
    mutating func element(_ scalar: Scalar) {
        switch scalar {
        case .text(let text): element(text)
        case .number(let number): element(number)
        case .boolean(let truth): element(truth)
        }
    }

    /// An empty list writes nothing: absent and empty mean the same.
    mutating func member(_ name: StaticString, _ scalars: BorrowedList<NamedScalar>) {
        guard !scalars.isEmpty else { return }
        self.name(name)
        openObject()
        for scalar in scalars {
            self.name(scalar.name)
            element(scalar.value)
        }
        closeObject()
    }

    mutating func member(_ name: StaticString, _ attributes: BorrowedList<Attribute>) {
        guard !attributes.isEmpty else { return }
        self.name(name)
        openObject()
        for attribute in attributes {
            self.name(attribute.name)
            guard attribute.isList else {
                element(attribute.values[0])
                continue
            }
            openArray()
            for value in attribute.values { element(value) }
            closeArray()
        }
        closeObject()
    }

    mutating func member(_ name: StaticString, _ texts: BorrowedList<ByteSlice>) {
        self.name(name)
        openArray()
        for text in texts { element(text) }
        closeArray()
    }

    mutating func member(_ name: StaticString, _ numbers: BorrowedList<Double>) {
        self.name(name)
        openArray()
        for number in numbers { element(number) }
        closeArray()
    }
}
