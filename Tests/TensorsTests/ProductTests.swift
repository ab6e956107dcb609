// Products, kernels and files of the arithmetic layer.

import DeterministicMath
import Foundation
import Testing

@testable import Tensors

/// Random floats in a block.
func randomBlock(_ count: Int, seed: UInt64) -> Block {
    var random = Random(seed: seed)
    let block = Block(count: count)
    for i in 0..<count { block.base[i] = Float(random.normal()) }
    return block
}

@Suite struct ProductTests {
    init() throws { try KernelChoice.chooseIfNeeded() }

    @Test(arguments: [1, 3, 4, 5, 40])
    func `products agree with sums in double precision`(rows: Int) {
        let (I, O) = (37, 21)
        let x = randomBlock(rows * I, seed: 1)
        let w = randomBlock(O * I, seed: 2)
        let dy = randomBlock(rows * O, seed: 3)
        let (y, dx, dw) = (Block(count: rows * O), Block(count: rows * I), Block(count: O * I))
        let (X, W) = (Matrix(x.base, rows, I), Matrix(w.base, O, I))
        let D = Matrix(dy.base, rows, O)
        Product.linear(Matrix(y.base, rows, O), X, W)
        Product.back(Matrix(dx.base, rows, I), D, W)
        Product.weights(Matrix(dw.base, O, I), D, X)
        for r in 0..<rows {
            for o in 0..<O {
                let sum = (0..<I).reduce(0.0) {
                    $0 + Double(x.base[r * I + $1]) * Double(w.base[o * I + $1])
                }
                #expect(abs(Double(y.base[r * O + o]) - sum) < 1e-5)
            }
            for i in 0..<I {
                let sum = (0..<O).reduce(0.0) {
                    $0 + Double(dy.base[r * O + $1]) * Double(w.base[$1 * I + i])
                }
                #expect(abs(Double(dx.base[r * I + i]) - sum) < 1e-5)
            }
        }
        for o in 0..<O {
            for i in 0..<I {
                let sum = (0..<rows).reduce(0.0) {
                    $0 + Double(dy.base[$1 * O + o]) * Double(x.base[$1 * I + i])
                }
                #expect(abs(Double(dw.base[o * I + i]) - sum) < 1e-4)
            }
        }
    }

    @Test(arguments: [(48, 10), (128, 1024), (171, 128), (384, 32), (1024, 64)])
    func `a row of a padded product has the same bits in any company and place`(
        shape: (Int, Int)
    ) {
        let (I, O) = shape
        let w = randomBlock(O * I, seed: 5)
        let row = randomBlock(I, seed: 6)
        let scratch = Block(count: 32 * (I + O))
        let alone = Block(count: O)
        Product.linearTiled(
            Matrix(alone.base, 1, O), Matrix(row.base, 1, I), Matrix(w.base, O, I),
            scratch: scratch.base)
        for (rows, place) in [(7, 3), (32, 0), (32, 31), (33, 32), (61, 40), (64, 17)] {
            let x = randomBlock(rows * I, seed: UInt64(rows + place))
            (x.base + place * I).update(from: row.base, count: I)
            let y = Block(count: rows * O)
            Product.linearTiled(
                Matrix(y.base, rows, O), Matrix(x.base, rows, I), Matrix(w.base, O, I),
                scratch: scratch.base)
            let same = (0..<O).allSatisfy {
                y.base[place * O + $0].bitPattern == alone.base[$0].bitPattern
            }
            #expect(same, "\(rows) rows, place \(place)")
        }
    }

    @Test func `exponential and logarithm are within three units of the last place`() {
        let count = 4003
        let x = Block(count: count)
        let y = Block(count: count)
        for i in 0..<count { x.base[i] = Float(i - 2000) * 0.043 }
        Kernels.exponential(y.base, x.base, count: count)
        for i in 0..<count {
            let exact = Math.exp(Double(x.base[i]))
            if exact > 1e-37, exact < 1e38 {
                #expect(abs(Double(y.base[i]) - exact) <= exact * 3 * 6e-8, "e^\(x.base[i])")
            }
        }
        for i in 0..<count { x.base[i] = Float(Math.exp(Double(i - 2000) * 0.04)) }
        Kernels.logarithm(y.base, x.base, count: count)
        for i in 0..<count {
            let exact = Math.log(Double(x.base[i]))
            #expect(abs(Double(y.base[i]) - exact) <= max(1e-7, abs(exact) * 2e-7))
        }
    }

    @Test func `both builds of the kernels give the same bits`() {
        let count = 77
        let x = randomBlock(count, seed: 9)
        let before = randomBlock(count, seed: 10)
        func run(wide: Bool) -> [UInt32] {
            let w = Block(copying: before)
            let acc = Block(count: count)
            let normal = Block(count: count)
            let y = Block(count: count)
            let scale = Block(count: 1)
            KernelTwins.run(
                wide: wide, w: w.base, acc: acc.base, normal: normal.base, y: y.base,
                scale: scale.base, x: x.base, gamma: before.base, count: count)
            return [w, acc, normal, y, scale].flatMap { block in
                (0..<block.count).map { block.base[$0].bitPattern }
            }
        }
        if KernelClass.best == .skylakex { #expect(run(wide: true) == run(wide: false)) }
    }

    @Test func `a process cannot change its kernels`() throws {
        let other: KernelClass = KernelChoice.current == .haswell ? .skylakex : .haswell
        #expect(throws: KernelError.self) { try KernelChoice.choose(other) }
        try KernelChoice.choose(KernelChoice.current!)
    }
}

@Suite struct SafetensorsTests {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
        "coldstream-safetensors-\(getpid())")

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = folder.appendingPathComponent(name).path
        try Data(bytes).write(to: URL(filePath: path))
        return path
    }

    @Test func `what is written is read, metadata too`() throws {
        let a = randomBlock(6, seed: 1)
        let b = randomBlock(4, seed: 2)
        let path = folder.appendingPathComponent("pair").path
        var writer = SafetensorsWriter(metadata: [("kind", "test")])
        writer.add("b", shape: [4], b.base)
        writer.add("a", shape: [2, 3], a.base)
        _ = try writer.write(to: path)
        let read = try SafetensorsFile(path)
        #expect(read.metadata == ["kind": "test"])
        #expect(try read.floats("a") == (0..<6).map { a.base[$0] })
        #expect(try read.floats("b") == (0..<4).map { b.base[$0] })
        #expect(throws: SafetensorsError.self) {
            try read.withFloats("a", shape: [3, 2]) { _, _ in }
        }
    }

    @Test func `damaged files are refused with a sentence`() throws {
        func bytes(_ header: String, _ data: Int) -> [UInt8] {
            (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
                + Array(header.utf8) + [UInt8](repeating: 0, count: data)
        }
        let good = #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
        _ = try SafetensorsFile(file("good", bytes(good, 8)))
        let cases: [(String, [UInt8])] = [
            ("short", [1, 2, 3]), ("truncated", bytes(good, 7)), ("longer", bytes(good, 9)),
            ("not JSON", bytes("{", 0)),
            ("shape", bytes(good.replacing("[2]", with: "[3]"), 8)),
            ("type", bytes(good.replacing("F32", with: "F31"), 8)),
            ("hole", bytes(good.replacing("[0,8]", with: "[4,12]"), 12)),
            ("negative", bytes(good.replacing("[2]", with: "[-2]"), 8)),
        ]
        for (name, content) in cases {
            let path = try file(name, content)
            #expect(throws: SafetensorsError.self, "\(name)") { try SafetensorsFile(path) }
        }
    }
}
