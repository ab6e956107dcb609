// The tests of Tensors start here.
import Testing
