package container

import "strings"

// The two words of a random name: a quality, and the surname of someone who
// explored, measured, built or calculated. Both are read when a name is made, not
// at every start of the program.

const qualityWords = `
able agile airy amber ample apt azure balmy blithe bold brave breezy bright brisk bronze buoyant calm candid
cheery civil clear clever coastal copper coral crisp curious dapper daring dawning deft dewy drifting eager
early earnest easy elated ember even exact fair famed fearless festive fine firm fleet fluent fond frank
free fresh gallant genial gentle gilded glad golden graceful grand happy hardy hearty helpful hopeful humble
ivory jaunty jolly keen kindly lasting level light lively loyal lucid lucky lunar mellow merry mighty mild
misty modest neat nimble noble northern open orderly patient placid plain polite prompt proper proud quick
quiet rapid ready rested robust rosy sailing salty sandy serene sharp silver sincere sleek smooth snug solid
southern spirited spry stable steady stellar stout sturdy subtle sunlit sunny supple sure swift tactful
tawny tender thankful thrifty tidal tidy tranquil trim true trusty upbeat upright valiant vivid warm
watchful wavy western wise witty worthy zesty`

const surnameWords = `
abel agnesi ahmose akeley alhazen ampere amundsen anning apgar arago archer avogadro ayrton babbage baffin
baird banks barentsz barton bascom bassi bateman beaufort becquerel bell bering bernoulli bessel biruni
blackwell bohr boole borman bougainville bowditch bragg brahe braun brunel cabot cannon cantor carnot
cartier cassini cauchy cavendish celsius chladni clausius clarke coblentz cook cori cousteau crick curie
dalton darby darwin davy dirac doppler drake durer earhart eads edison ekman elcano ellet eratosthenes erdos
ericsson escher euclid euler everest fahrenheit faraday fermat fermi fitzroy flinders foucault fourier
franklin fraser fresnel frobisher fulton galilei galois gama gauss germain gibbs glenn goddard godel gray
green halley hamilton harrison harvey heaviside henry henson herschel hertz hevelius hilbert hooke hopper
hubble hudson humboldt huygens hypatia ibsen jansky jemison jenner joliot joule kelvin kepler kirch
kovalevskaya lagrange lamarr lambert laplace lavoisier leavitt leibniz leonov lind lister lomonosov lorentz
lovelace lovell lyell mach maclaurin magellan marconi markov maury maxwell meitner mendel mercator merian
milne mitchell monge morse munk nansen napier newcomen newton nightingale nobel noether ohm oersted papin
pascal pasteur peary perkin piccard planck plimsoll poincare polo ptolemy pytheas rae raman ramsden rayleigh
ride riemann ritter ross rowland rubin rutherford sabine scheele scott seacole shackleton shannon siemens
slocum snow somerville sorby stevin stokes swan tasman tereshkova tesla thales tharp torricelli tupaia
turing vancouver vespucci volta wallis watt weddell wegener weyl whewell wilkins wren wright yalow young
zeppelin zhenghe zuse`

// word picks the n-th of some words, n modulo their number.
func word(words string, n uint16) string {
	list := strings.Fields(words)
	return list[int(n)%len(list)]
}
