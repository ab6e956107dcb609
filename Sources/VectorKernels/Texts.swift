// Projections of text vectors, read where they lie: gathering them first would cost as much as the
// product, because every number of a text is used only once an output.

import CVectors

/// Rows of texts that are projected together: as many as keep the sums in registers.
#if WIDE
    private let block = 8
#else
    private let block = 2
#endif

/// out[i] = W texts[rows[i]] for outputs in multiples of 16.
///
/// Each output is one sum over the text's numbers in their order: a row's bits depend on nothing else.
///
/// - Parameters:
///   - out: (count, outputs), overwritten.
///   - packed: (width, outputs), W transposed.
///   - texts: rows of `width` floats.
public func projectTexts(
    _ out: UnsafeMutablePointer<Float>, packed: UnsafePointer<Float>, outputs: Int,
    _ texts: UnsafePointer<Float>, width: Int, rows: UnsafePointer<Int32>, count: Int
) {
    var i = 0
    while i < count {
        var o = 0
        let isWhole = i &+ block <= count
        while o < outputs {
            let isPair = o &+ 32 <= outputs
            if isWhole && isPair {
                projectBlock(out, packed, outputs, texts, width, rows, i, o, count &- i &- block)
                o &+= 32
                continue
            }
            for r in i..<min(count, i &+ block) {
                let x = texts + Int(rows[r]) &* width
                var sum = Lanes(repeating: 0)
                for k in 0..<width {
                    sum.addProduct(load(packed, k &* outputs &+ o), Lanes(repeating: x[k]))
                }
                store(sum, out, r &* outputs &+ o)
            }
            o &+= 16
        }
        i &+= block
    }
}

#if WIDE
    @inline(__always)
    private func projectBlock(
        _ out: Pointer, _ packed: ConstPointer, _ outputs: Int, _ texts: ConstPointer, _ width: Int,
        _ rows: UnsafePointer<Int32>, _ i: Int, _ o: Int, _ left: Int
    ) {
        let x0 = texts + Int(rows[i]) &* width
        let x1 = texts + Int(rows[i &+ 1]) &* width
        let x2 = texts + Int(rows[i &+ 2]) &* width
        let x3 = texts + Int(rows[i &+ 3]) &* width
        let x4 = texts + Int(rows[i &+ 4]) &* width
        let x5 = texts + Int(rows[i &+ 5]) &* width
        let x6 = texts + Int(rows[i &+ 6]) &* width
        let x7 = texts + Int(rows[i &+ 7]) &* width
        let zero = Lanes(repeating: 0)
        var (a0, a1, a2, a3, a4, a5, a6, a7) = (zero, zero, zero, zero, zero, zero, zero, zero)
        var (b0, b1, b2, b3, b4, b5, b6, b7) = (zero, zero, zero, zero, zero, zero, zero, zero)
        for k in 0..<width {
            if k & 15 == 0 {
                // The block after this one: its lines are asked for as this one's are used.
                for r in 0..<min(8, left) {
                    cs_prefetch(texts + (Int(rows[i &+ 8 &+ r]) &* width &+ k))
                }
            }
            let p = load(packed, k &* outputs &+ o)
            let q = load(packed, k &* outputs &+ o &+ 16)
            var v = Lanes(repeating: x0[k])
            a0.addProduct(p, v)
            b0.addProduct(q, v)
            v = Lanes(repeating: x1[k])
            a1.addProduct(p, v)
            b1.addProduct(q, v)
            v = Lanes(repeating: x2[k])
            a2.addProduct(p, v)
            b2.addProduct(q, v)
            v = Lanes(repeating: x3[k])
            a3.addProduct(p, v)
            b3.addProduct(q, v)
            v = Lanes(repeating: x4[k])
            a4.addProduct(p, v)
            b4.addProduct(q, v)
            v = Lanes(repeating: x5[k])
            a5.addProduct(p, v)
            b5.addProduct(q, v)
            v = Lanes(repeating: x6[k])
            a6.addProduct(p, v)
            b6.addProduct(q, v)
            v = Lanes(repeating: x7[k])
            a7.addProduct(p, v)
            b7.addProduct(q, v)
        }
        let first = out + (i &* outputs &+ o)
        store(a0, first, 0)
        store(b0, first, 16)
        store(a1, first, outputs)
        store(b1, first, outputs &+ 16)
        store(a2, first, 2 &* outputs)
        store(b2, first, 2 &* outputs &+ 16)
        store(a3, first, 3 &* outputs)
        store(b3, first, 3 &* outputs &+ 16)
        store(a4, first, 4 &* outputs)
        store(b4, first, 4 &* outputs &+ 16)
        store(a5, first, 5 &* outputs)
        store(b5, first, 5 &* outputs &+ 16)
        store(a6, first, 6 &* outputs)
        store(b6, first, 6 &* outputs &+ 16)
        store(a7, first, 7 &* outputs)
        store(b7, first, 7 &* outputs &+ 16)
    }
#else
    @inline(__always)
    private func projectBlock(
        _ out: Pointer, _ packed: ConstPointer, _ outputs: Int, _ texts: ConstPointer, _ width: Int,
        _ rows: UnsafePointer<Int32>, _ i: Int, _ o: Int, _ left: Int
    ) {
        let x0 = texts + Int(rows[i]) &* width
        let x1 = texts + Int(rows[i &+ 1]) &* width
        let zero = Lanes(repeating: 0)
        var (a0, a1, b0, b1) = (zero, zero, zero, zero)
        for k in 0..<width {
            let p = load(packed, k &* outputs &+ o)
            let q = load(packed, k &* outputs &+ o &+ 16)
            var v = Lanes(repeating: x0[k])
            a0.addProduct(p, v)
            b0.addProduct(q, v)
            v = Lanes(repeating: x1[k])
            a1.addProduct(p, v)
            b1.addProduct(q, v)
        }
        let first = out + (i &* outputs &+ o)
        store(a0, first, 0)
        store(b0, first, 16)
        store(a1, first, outputs)
        store(b1, first, outputs &+ 16)
    }
#endif

/// dw[o] += Σ_i d[i, o] texts[rows[i]] for numbers k in lower..<upper of the texts.
///
/// Each sum runs over the texts in their order, then is added to dw.
///
/// - Parameters:
///   - dw: (outputs, width), accumulated; outputs in multiples of 8, lower and upper of 32.
///   - d: (count, outputs).
///   - next: how many of the rows after `count` will be wanted next; they are asked for early.
public func addTextGradients(
    _ dw: UnsafeMutablePointer<Float>, _ d: UnsafePointer<Float>, outputs: Int,
    _ texts: UnsafePointer<Float>, width: Int, rows: UnsafePointer<Int32>, count: Int, next: Int,
    lower: Int, upper: Int
) {
    let zero = Lanes(repeating: 0)
    var k = lower
    while k < upper {
        for r in count..<count &+ next {
            let address = texts + (Int(rows[r]) &* width &+ k)
            cs_prefetch(address)
            cs_prefetch(address + 16)
        }
        var o = 0
        while o < outputs {
            #if WIDE
                var (a0, a1, a2, a3, a4, a5, a6, a7) = (
                    zero, zero, zero, zero, zero, zero, zero, zero
                )
                var (b0, b1, b2, b3, b4, b5, b6, b7) = (
                    zero, zero, zero, zero, zero, zero, zero, zero
                )
                for i in 0..<count {
                    let x = texts + (Int(rows[i]) &* width &+ k)
                    let p = load(x, 0)
                    let q = load(x, 16)
                    let g = d + (i &* outputs &+ o)
                    var v = Lanes(repeating: g[0])
                    a0.addProduct(p, v)
                    b0.addProduct(q, v)
                    v = Lanes(repeating: g[1])
                    a1.addProduct(p, v)
                    b1.addProduct(q, v)
                    v = Lanes(repeating: g[2])
                    a2.addProduct(p, v)
                    b2.addProduct(q, v)
                    v = Lanes(repeating: g[3])
                    a3.addProduct(p, v)
                    b3.addProduct(q, v)
                    v = Lanes(repeating: g[4])
                    a4.addProduct(p, v)
                    b4.addProduct(q, v)
                    v = Lanes(repeating: g[5])
                    a5.addProduct(p, v)
                    b5.addProduct(q, v)
                    v = Lanes(repeating: g[6])
                    a6.addProduct(p, v)
                    b6.addProduct(q, v)
                    v = Lanes(repeating: g[7])
                    a7.addProduct(p, v)
                    b7.addProduct(q, v)
                }
                let out = dw + (o &* width &+ k)
                addPair(out, 0 &* width, a0, b0)
                addPair(out, 1 &* width, a1, b1)
                addPair(out, 2 &* width, a2, b2)
                addPair(out, 3 &* width, a3, b3)
                addPair(out, 4 &* width, a4, b4)
                addPair(out, 5 &* width, a5, b5)
                addPair(out, 6 &* width, a6, b6)
                addPair(out, 7 &* width, a7, b7)
                o &+= 8
            #else
                var (a0, a1, b0, b1) = (zero, zero, zero, zero)
                for i in 0..<count {
                    let x = texts + (Int(rows[i]) &* width &+ k)
                    let p = load(x, 0)
                    let q = load(x, 16)
                    let g = d + (i &* outputs &+ o)
                    var v = Lanes(repeating: g[0])
                    a0.addProduct(p, v)
                    b0.addProduct(q, v)
                    v = Lanes(repeating: g[1])
                    a1.addProduct(p, v)
                    b1.addProduct(q, v)
                }
                let out = dw + (o &* width &+ k)
                addPair(out, 0, a0, b0)
                addPair(out, width, a1, b1)
                o &+= 2
            #endif
        }
        k &+= 32
    }
}

@inline(__always)
private func addPair(_ out: Pointer, _ place: Int, _ a: Lanes, _ b: Lanes) {
    store(load(out, place) + a, out, place)
    store(load(out, place &+ 16) + b, out, place &+ 16)
}
