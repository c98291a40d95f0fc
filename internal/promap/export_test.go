package promap

// Lock holds the map's lock until release is called.
func (m *Map[K, V]) Lock() (release func()) {
	m.mu.Lock()
	return m.mu.Unlock
}
