from policyd.cli.main import main

main()
