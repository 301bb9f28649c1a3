"""Words that guessers try first: a small list of our own making, in lower case without digits.

It is no dictionary: it stops what everybody tries in the first minute. Compare it with a password's letters
(:func:`beonss.core.passwords.policy.weaknesses` undoes the usual disguises first).
"""

_WORDS = """
aaaaaa abcabc abcd abcde abcdef abcdefg access account adam admin administrator alex alexander alice amanda america
andrea andrew angel angela anna anthony apple april asdf asdfg asdfgh asdfghjkl asdfjkl ashley aspirin august austin
autumn baby bailey banana bandit barbara baseball basketball batman beach bear beautiful beer benjamin berlin bigdog
bill black blink blue bob bond boston brandon brian buddy buster butterfly calvin camaro cameron canada captain carlos
cat changeit changeme charles charlie cheese chelsea chicago chicken chocolate chris christian christmas cisco claudia
cluster coffee compaq computer cookie cool corvette cowboy cpasswd crystal dakota dallas daniel david death debian
december default demo dennis denver diamond digital dog dolphin donald dragon dreams eagle eagles easter edward
elephant elizabeth emily emma enter eric error esther explorer falcon family fender ferrari fire fish flower flowers
football forest forever forgot france frank frankfurt freddy freedom friday friend friends games gamgee gandalf
garfield genesis george german germany gibson ginger girl gizmo god golden golf google grace great green guest guitar
hammer hannah happy hardcore harley heather heaven hello helpdesk hockey home honda horse hotdog house houston hunter
iceman iloveyou india install internet isabel jack jackson jaguar james january jasmine jason jennifer jessica jesus
john johnny jordan joseph joshua july june justin katherine kevin killer king kitten kitty knight lakers laptop laura
letmein letmeinnow liberty linda linux lion lisa liverpool london lord love lovely loveme lucky maggie magic manager
march maria marina mario mark marlboro martin master matrix matthew maverick max maxwell melissa mercedes merlin
michael michelle mickey mike miller mine minecraft mobile monday money monica monitor monkey monster morgan mother
mountain music mustang nathan nature network newpass newpassword newuser nicholas nicole nimda ninja nirvana nobody
nopass nothing november october office oliver opensuse operator oracle orange pass passphrase passw passwd password
passwords passwort patrick peace peanut penguin pepper peter phoenix pizza player please pokemon porsche prince
princess private public purple qazwsx qazwsxedc qwaszx qwer qwert qwerty qwertyuiop qwertz qwertzuiop rabbit rachel
rainbow ranger raspberry rebecca redhat richard robert rocket root rootroot rosebud rush samantha samsung samuel sarah
saturday saturn scooby scooter scott secret secure security september server service sexy shadow shannon silver simple
skywalker slipknot slurm smokey snoopy snow soccer sophie sparky spider spring standard star stars starwars steelers
stephen steven student summer sunday sunflower sunshine super supercomputer superman superuser support sweet
switzerland sysadmin system taylor teacher temp temporary tennis test teste tester testing thomas thunder thursday
tiger tigger time toor topgun toyota trustnoone tuesday turtle ubuntu unix unknown user username vacation vanessa
victor victoria viking vincent wednesday welcome whatever white william wilson windows winner winston winter wizard
wolf wonderful xxxx xxxxxx yamaha yankees yellow youandme zaq zaqwsx zurich zxcv zxcvb zxcvbn zxcvbnm
"""

COMMON = frozenset(_WORDS.split())
